//! Results of the reference: the `*_raw.pickle` files of a folder (REFERENCE.md §6.5).

use std::{fs, path::Path};

use gf_corpus::pickle::{self, Value};
use gf_perturb::stats::Observations;
use gf_tokenize::TokenId;

use crate::failure::Failure;

/// How the names of these files end.
const SUFFIX: &str = "_raw.pickle";

/// Reads every such file of a folder, by name.
///
/// # Errors
///
/// There is none, or one is not what the reference writes.
pub fn read(folder: &Path) -> Result<Observations, Failure> {
    let failure = |what: String| Failure::Error(format!("{}: {what}", folder.display()).into());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failure(error.to_string()))? {
        let path = entry.map_err(|error| failure(error.to_string()))?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(failure(format!("found no *{SUFFIX}, expected those of one run")));
    }
    paths.sort();
    let mut observations = Observations::default();
    for path in &paths {
        if add_file(&mut observations, &pickle::read(path)?).is_none() {
            let what = "found another content, expected cosines by (gene, \"cell_emb\" or gene)";
            return Err(Failure::Error(format!("{}: {what}", path.display()).into()));
        }
    }
    Ok(observations)
}

fn add_file(observations: &mut Observations, value: &Value) -> Option<()> {
    let Value::Dict(entries) = value else { return None };
    for (key, value) in entries {
        match (key, value) {
            (Value::Str(state), Value::Dict(entries)) => entries
                .iter()
                .try_for_each(|(key, value)| add_entry(observations, Some(state), key, value))?,
            _ => add_entry(observations, None, key, value)?,
        }
    }
    Some(())
}

fn add_entry(
    observations: &mut Observations,
    state: Option<&str>,
    key: &Value,
    value: &Value,
) -> Option<()> {
    let (Value::Tuple(key), Value::List(numbers)) = (key, value) else { return None };
    let [perturbed, affected] = key.as_slice() else { return None };
    let genes = match perturbed {
        Value::Tuple(genes) => genes.iter().map(token).collect::<Option<Vec<_>>>()?,
        gene => vec![token(gene)?],
    };
    let number = |value: &Value| if let Value::Float(x) = value { Some(*x) } else { None };
    let numbers: Vec<f64> = numbers.iter().map(number).collect::<Option<_>>()?;
    match affected {
        Value::Str(text) if text == "cell_emb" => observations.add_cells(genes, state, &numbers),
        gene => observations.add_affected(genes, token(gene)?, &numbers),
    }
    Some(())
}

fn token(value: &Value) -> Option<TokenId> {
    let Value::Int(token) = value else { return None };
    u32::try_from(*token).ok().map(TokenId)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A folder of shared/golden, or a loud `None` where it is absent.
    fn golden(folder: &str) -> Option<std::path::PathBuf> {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
        let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
        let folder = Path::new(&shared).join("golden").join(folder);
        if !folder.is_dir() {
            eprintln!("SKIPPED: {} is absent", folder.display());
            return None;
        }
        Some(folder)
    }

    /// The pickles are also written down as JSON (INDEX.md A8).
    #[test]
    fn pickles_of_the_reference() {
        let Some(folder) = golden("ref/isp_v2") else { return };
        let json = |run: &str| -> serde_json::Value {
            let file = fs::File::open(folder.join(format!("{run}.json"))).unwrap();
            serde_json::from_reader(file).unwrap()
        };
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let first = |run: &str| json(run).as_object().unwrap().values().next().unwrap().clone();

        let found = read(&folder.join("pickles/del_list1_states")).unwrap();
        let states = first("del_list1_states");
        assert_eq!(found.states, ["dcm", "nf", "hcm"]);
        for (i, shifts) in found.cells[&vec![TokenId(2258)]].shifts.iter().enumerate() {
            assert_eq!(*shifts, numbers(&states[i][1][0][1]));
        }
        let found = read(&folder.join("pickles/del_list2")).unwrap();
        let cells = &found.cells[&vec![TokenId(2258), TokenId(18188)]];
        assert_eq!(cells.cosines, numbers(&first("del_list2")[0][1]));

        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).unwrap_err().to_string().contains("found no *_raw.pickle"));
        fs::write(empty.path().join("x_raw.pickle"), b"\x80\x04K\x01.").unwrap();
        assert!(read(empty.path()).unwrap_err().to_string().contains("another content"));
    }

    /// The reference names V1 tokens as numpy numbers.
    #[test]
    fn pickles_with_numpy_tokens_and_genes() {
        let Some(folder) = golden("ref/isp_v1/pickles/del_list2_gene") else { return };
        let found = read(&folder).unwrap();
        let genes = vec![TokenId(2271), TokenId(24325)];
        assert_eq!(found.cells[&genes].cosines.len(), 8);
        assert!(found.affected[&genes].len() > 20);
    }
}
