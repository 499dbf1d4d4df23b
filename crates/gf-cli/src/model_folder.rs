//! What `--model` may name: a folder, or a repository of the Hugging Face hub that
//! lies in the local cache. Only `gf download` asks the hub itself.

use std::{
    env,
    path::{Path, PathBuf},
};

use gf_model::checkpoint::CONFIG_FILE;
use hf_hub::{
    Cache, CacheRepo, Repo, RepoType,
    api::sync::{ApiBuilder, ApiRepo},
};

/// `org/name[@revision][:subfolder]`, for example
/// `ctheodoris/Geneformer:Geneformer-V2-104M`.
#[derive(Debug, PartialEq, Eq)]
pub struct HubName<'a> {
    repository: &'a str,
    /// A branch, a tag or a commit.
    revision: &'a str,
    /// Empty for the repository's own.
    pub subfolder: &'a str,
}

/// A repository on the hub, and its place in the local cache.
pub struct Hub {
    pub api: ApiRepo,
    pub cache: CacheRepo,
}

/// The folder that a `--model` argument names.
///
/// # Errors
///
/// It names a repository that is not in the cache: what to place where is told.
pub fn parse(text: &str) -> Result<PathBuf, String> {
    match HubName::parse(text) {
        Some(name) if !Path::new(text).exists() => name.cached(&cache_folder()?),
        _ => Ok(PathBuf::from(text)),
    }
}

impl<'a> HubName<'a> {
    /// `None` if the text is no such name.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (repository, subfolder) = text.split_once(':').unwrap_or((text, ""));
        let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        let (owner, name) = repository.split_once('/')?;
        let named = is_plain(owner) && is_plain(name) && revision.split('/').all(is_plain);
        let within = subfolder.is_empty() || subfolder.split('/').all(is_plain);
        (named && within).then_some(Self { repository, revision, subfolder })
    }

    fn repo(&self) -> Repo {
        let (repository, revision) = (self.repository.to_owned(), self.revision.to_owned());
        Repo::with_revision(repository, RepoType::Model, revision)
    }

    /// The repository on the hub, or on the mirror that `HF_ENDPOINT` names; nothing is asked
    /// of it yet.
    ///
    /// # Errors
    ///
    /// There is no place for a cache.
    pub fn hub(&self) -> Result<Hub, String> {
        let cache = Cache::new(cache_folder()?);
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_progress(false);
        if let Ok(endpoint) = env::var("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint);
        }
        if let Ok(token) = env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        let api = builder.build().map_err(|error| error.to_string())?.repo(self.repo());
        Ok(Hub { api, cache: cache.repo(self.repo()) })
    }

    /// Finds the folder in a cache as `huggingface_hub` lays it out.
    fn cached(&self, cache: &Path) -> Result<PathBuf, String> {
        let Self { repository, revision, subfolder } = *self;
        let repo = self.repo();
        let stored = Cache::new(cache.to_owned()).repo(repo.clone());
        let config = Path::new(subfolder).join(CONFIG_FILE);
        let by_reference = config.to_str().and_then(|config| stored.get(config));
        let folder = match by_reference.as_deref().and_then(Path::parent) {
            Some(folder) => folder.to_owned(),
            None => stored.pointer_path(revision).join(subfolder),
        };
        if folder.join(CONFIG_FILE).is_file() {
            return Ok(folder);
        }
        let root = cache.join(repo.folder_name());
        let within = if subfolder.is_empty() { "" } else { ":" };
        Err(format!(
            "no such folder, and {repository} at {revision} is not in the cache: expected {} with \
             the name of a commit in {}; `gf download {repository}@{revision}{within}{subfolder}` \
             places them there",
            root.join("snapshots/COMMIT").join(subfolder).join(CONFIG_FILE).display(),
            root.join("refs").join(revision).display(),
        ))
    }
}

/// A segment of a name: letters, digits, `-`, `_` and `.`, and not a step upwards.
fn is_plain(segment: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(allowed)
}

/// Where `huggingface_hub` keeps its files: `HF_HUB_CACHE`, `HF_HOME/hub` or
/// `~/.cache/huggingface/hub`.
fn cache_folder() -> Result<PathBuf, String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(env::home_dir()?.join(".cache/huggingface/hub")))
        .ok_or_else(|| "no such folder, and no home folder to look for a cache in".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names() {
        fn t(text: &str, expected: Option<[&str; 3]>) {
            let expected = expected.map(|[repository, revision, subfolder]| HubName {
                repository,
                revision,
                subfolder,
            });
            assert_eq!(HubName::parse(text), expected, "{text}");
        }
        t("a/b", Some(["a/b", "main", ""]));
        t("a/b:c/d", Some(["a/b", "main", "c/d"]));
        t("a/b@refs/pr/1:c", Some(["a/b", "refs/pr/1", "c"]));
        t("model", None);
        t("./model", None);
        t("../a", None);
        t("/a/b", None);
        t("a/b/c", None);
        t("a/b:../../c", None);
        t("a/b@..", None);
        t("a/b:", Some(["a/b", "main", ""]));
    }

    /// A cache as `huggingface_hub` 0.34 writes one: refs name a commit, snapshots
    /// hold its files.
    #[test]
    fn repositories_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let root = cache.path().join("models--org--name");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("refs/main", "0123abcd");
        write("snapshots/0123abcd/config.json", "{}");
        write("snapshots/0123abcd/small/config.json", "{}");
        let t = |text: &str| HubName::parse(text).unwrap().cached(cache.path());
        let snapshot = root.join("snapshots/0123abcd");
        assert_eq!(t("org/name").unwrap(), snapshot);
        assert_eq!(t("org/name:small").unwrap(), snapshot.join("small"));
        assert_eq!(t("org/name@0123abcd:small").unwrap(), snapshot.join("small"));
        for absent in ["org/name:large", "org/name@v2", "org/other"] {
            let message = t(absent).unwrap_err();
            let root = cache.path().join(if absent == "org/other" {
                "models--org--other"
            } else {
                "models--org--name"
            });
            assert!(message.contains(&root.join("snapshots").display().to_string()), "{message}");
        }
    }
}
