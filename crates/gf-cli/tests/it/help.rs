//! Every command explains itself.

use crate::run::ok;

#[test]
fn each_command_shows_an_example() {
    let folder = std::env::temp_dir();
    for command in ["ingest", "medians", "tokenize", "pretrain", "embed", "perturb", "report"] {
        let help = ok(&folder, &format!("{command} --help"));
        let example = format!("Example:\n  gf {command} ");
        assert!(help.contains(&example), "gf {command} --help lacks {example:?}");
        assert!(help.contains("--device") && help.contains("--seed"), "gf {command} --help");
    }
}
