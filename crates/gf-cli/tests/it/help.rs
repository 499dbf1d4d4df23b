//! Every command explains itself.

use crate::run::ok;

#[test]
fn each_command_shows_an_example() {
    let folder = std::env::temp_dir();
    for command in [
        "ingest",
        "export",
        "medians",
        "tokenize",
        "pretrain",
        "download",
        "quantize",
        "embed",
        "similarity",
        "separability",
        "map",
        "perturb",
        "merge",
        "stats",
        "report",
    ] {
        let help = ok(&folder, &format!("{command} --help"));
        let examples = ["Example:", "Examples:"].map(|head| format!("{head}\n  gf {command} "));
        let shown = examples.iter().any(|example| help.contains(example));
        assert!(shown, "gf {command} --help lacks {:?}", examples[0]);
        assert!(help.contains("--device") && help.contains("--seed"), "gf {command} --help");
    }
}
