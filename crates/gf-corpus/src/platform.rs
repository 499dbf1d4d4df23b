//! Which assays put cells into droplets.

/// What a platform's name holds, in lower case letters and digits only, and
/// whether its cells sit in droplets. Nanowells, microwells, plates,
/// combinatorial indexing and spatial arrays are not droplets.
const PLATFORMS: [(&str, bool); 37] = [
    ("10x", true), // Chromium 3' and 5', v1 to v4, Flex, Multiome
    ("chromium", true),
    ("dropseq", true), // also snDrop-seq
    ("indrop", true),
    ("ddseq", true), // Bio-Rad
    ("surecell", true),
    ("dnbelab", true), // C4
    ("hydrop", true),
    ("pipseq", true),
    ("seqwell", false),
    ("microwellseq", false),
    ("rhapsody", false),
    ("gexscope", false),
    ("icell8", false),
    ("smartseq", false),
    ("smarter", false),
    ("celseq", false),
    ("marsseq", false),
    ("sortseq", false),
    ("quartzseq", false),
    ("strtseq", false),
    ("tangseq", false),
    ("fluidigm", false), // C1
    ("scirna", false),
    ("sciplex", false),
    ("splitseq", false),
    ("parsebio", false),
    ("parseevercode", false),
    ("evercode", false),
    ("bulkrna", false),
    ("visium", false),
    ("xenium", false),
    ("slideseq", false),
    ("stereoseq", false),
    ("merfish", false),
    ("cosmx", false),
    ("patchseq", false),
];

/// Whether an assay's free text names a droplet platform; `None` if it names
/// none of the known ones, or some that disagree.
///
/// ```
/// use gf_corpus::is_droplet;
///
/// assert_eq!(is_droplet("10x 3' v3.1"), Some(true));
/// assert_eq!(is_droplet("Smart-seq2"), Some(false));
/// assert_eq!(is_droplet("10x and Smart-seq2"), None);
/// assert_eq!(is_droplet("single nuclei"), None);
/// ```
#[must_use]
pub fn is_droplet(assay: &str) -> Option<bool> {
    let name: String =
        assay.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let mut named = PLATFORMS.iter().filter(|(part, _)| name.contains(part)).map(|&(_, is)| is);
    let first = named.next()?;
    named.all(|is| is == first).then_some(first)
}
