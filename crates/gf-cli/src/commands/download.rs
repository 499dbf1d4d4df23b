//! `gf download`

use std::path::PathBuf;

use clap::Args;
use gf_model::checkpoint::CONFIG_FILE;
use gf_tokenize::{ModelTokens, VOCABULARY_FILE};
use hf_hub::api::{Progress, sync::ApiError};

use crate::{
    failure::Failure,
    model_folder::{Hub, HubName},
    shell::{Meter, Shell},
};

/// Files beside the weights that a model folder may have.
const SMALL_FILES: [&str; 3] = [CONFIG_FILE, VOCABULARY_FILE, ModelTokens::FILE];

/// Arguments of `gf download`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gf download ctheodoris/Geneformer:Geneformer-V2-104M
  gf download ctheodoris/Geneformer geneformer/token_dictionary_gc104M.pkl

Files go where huggingface_hub keeps its own (HF_HUB_CACHE, or hub in HF_HOME, or
~/.cache/huggingface/hub): --model finds them there by the same name, without a network.
HF_ENDPOINT names a mirror, HF_TOKEN the token of a private repository. This is the only
command that uses a network.")]
pub struct DownloadArgs {
    /// A repository: ORG/NAME[@REVISION][:SUBFOLDER].
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Files of the repository; by default the model in it or in the subfolder, its weights
    /// as safetensors where it has such.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

/// Places files of a repository in the local cache.
pub fn run(args: &DownloadArgs, shell: &Shell) -> Result<(), Failure> {
    let name = HubName::parse(&args.repository).ok_or_else(|| {
        let found = &args.repository;
        Failure::Usage(format!("found {found}, expected ORG/NAME[@REVISION][:SUBFOLDER]"))
    })?;
    let failed = |error: ApiError| Failure::Error(format!("{}: {error}", args.repository).into());
    let hub = name.hub().map_err(|error| Failure::Error(error.into()))?;
    let info = hub.api.info().map_err(failed)?;
    let offered: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let files = match args.files.as_slice() {
        [] => model_files(&offered, name.subfolder),
        files => files.iter().filter(|file| offered.contains(file)).cloned().collect(),
    };
    if files.is_empty() || files.len() < args.files.len() {
        let (expected, offered) = (expected(&args.files), offered.join(", "));
        let message = format!("{}: expected {expected}, found {offered}", args.repository);
        return Err(Failure::Error(message.into()));
    }
    let mut paths = Vec::new();
    for file in &files {
        let path = fetch(&hub, &info.sha, file, shell)?;
        shell.say(path.display())?;
        paths.push(path);
    }
    shell.summary(&serde_json::json!({ "repository": args.repository, "files": paths }))
}

fn expected(files: &[String]) -> String {
    match files {
        [] => format!("{CONFIG_FILE} with .safetensors or pytorch_model*.bin"),
        files => files.join(", "),
    }
}

/// The model of a folder of a repository: nothing if it has no configuration or no weights.
fn model_files(offered: &[String], subfolder: &str) -> Vec<String> {
    let folder = if subfolder.is_empty() { String::new() } else { format!("{subfolder}/") };
    let inside = offered.iter().filter_map(|file| file.strip_prefix(&folder));
    let names: Vec<&str> = inside.filter(|name| !name.contains('/')).collect();
    let pick = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
        let wanted = names.iter().filter(|name| is_wanted(name));
        wanted.map(|name| format!("{folder}{name}")).collect()
    };
    // Shards lie beside their index, MODEL.SUFFIX.index.json.
    let weights = |model: &str, suffix: &str| {
        pick(&|name| {
            name.starts_with(model) && name.trim_end_matches(".index.json").ends_with(suffix)
        })
    };
    let weights = match weights("model", ".safetensors") {
        none if none.is_empty() => weights("pytorch_model", ".bin"),
        safetensors => safetensors,
    };
    if weights.is_empty() || !names.contains(&CONFIG_FILE) {
        return Vec::new();
    }
    [pick(&|name| SMALL_FILES.contains(&name)), weights].concat()
}

/// A file that the snapshot of the commit holds already is not fetched again; a fetch that
/// was broken off goes on.
fn fetch(hub: &Hub, commit: &str, file: &str, shell: &Shell) -> Result<PathBuf, Failure> {
    let stored = hub.cache.pointer_path(commit).join(file);
    if stored.exists() {
        return Ok(stored);
    }
    let mut bar = Bar { meter: shell.progress("fetching", "bytes"), done: 0, total: 0, file };
    if bar.meter.update(0, 1, file).is_break() {
        return Err(Failure::Interrupted(format!("before {file}")));
    }
    hub.api
        .download_with_progress(file, bar)
        .map_err(|error| Failure::Error(format!("{}: {error}", hub.api.url(file)).into()))
}

/// The bytes of a file as they arrive.
struct Bar<'a> {
    meter: Meter,
    done: u64,
    total: u64,
    file: &'a str,
}

impl Progress for Bar<'_> {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        // Stopping is asked for between files: the library cannot be stopped within one.
        let _ = self.meter.update(self.done, self.total, self.file);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_consists_of() {
        let offered: Vec<String> = [
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "training_args.bin",
            "sharded/config.json",
            "sharded/model-00001-of-00002.safetensors",
            "sharded/model-00002-of-00002.safetensors",
            "sharded/model.safetensors.index.json",
            "old/config.json",
            "old/pytorch_model.bin",
            "old/optimizer.bin",
            "old/deeper/config.json",
            "bare/model.safetensors",
            "older/config.json",
            "older/pytorch_model-00001-of-00001.bin",
            "older/pytorch_model.bin.index.json",
        ]
        .map(str::to_owned)
        .to_vec();
        fn t(offered: &[String], subfolder: &str, expected: &[&str]) {
            assert_eq!(model_files(offered, subfolder), expected, "{subfolder}");
        }
        t(&offered, "", &["config.json", "model.safetensors"]);
        t(&offered, "old", &["old/config.json", "old/pytorch_model.bin"]);
        t(&offered, "sharded", &[offered[5].as_str(), &offered[6], &offered[7], &offered[8]]);
        t(&offered, "older", &[offered[14].as_str(), &offered[15], &offered[16]]);
        t(&offered, "bare", &[]);
        t(&offered, "absent", &[]);
    }
}
