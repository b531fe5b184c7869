//! Where a configuration comes from: a file or the development defaults, and the environment.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Config,
    env::PREFIX,
    load::{Loaded, Places, load},
    problem::{Place, Problem},
};

/// The largest file that is read as a configuration or for it.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// A place that a configuration is read from, again and again.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<PathBuf>,
    env: Vec<(String, String)>,
}

/// Whether the files that a configuration names, such as certificates, are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedFiles {
    /// A file that cannot be read is a problem.
    Read,
    /// They may be on another machine.
    Ignore,
}

// === impl Source ===

impl Source {
    /// A TOML file, and the environment over it.
    pub fn file(path: impl Into<PathBuf>, env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { file: Some(path.into()), env: own_variables(env) }
    }

    /// The defaults for development, and the environment over them.
    pub fn dev(env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { file: None, env: own_variables(env) }
    }

    /// Whether this is the source of the defaults for development.
    pub fn is_dev(&self) -> bool {
        self.file.is_none()
    }

    /// Reads and checks the configuration. Returns all problems at once.
    pub fn load(&self) -> Result<Config, Vec<Problem>> {
        self.load_with(NamedFiles::Read)
    }

    /// Like [`load`](Self::load), with a choice about the files that the configuration names.
    pub fn load_with(&self, named: NamedFiles) -> Result<Config, Vec<Problem>> {
        let Loaded { config, places } = self.parse()?;
        let problems = match named {
            NamedFiles::Read => unreadable(&config, &places),
            NamedFiles::Ignore => Vec::new(),
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// A number that changes when the content of the file, or of a file that `config` names, does.
    pub fn fingerprint(&self, config: &Config) -> u64 {
        let mut hasher = DefaultHasher::new();
        let named = named_files(config).into_iter().map(|(_, path)| PathBuf::from(path));
        for path in self.file.iter().cloned().chain(named) {
            match read_bounded(&path) {
                Ok(bytes) => {
                    hasher.write_u64(bytes.len() as u64);
                    hasher.write(&bytes);
                }
                Err(_) => hasher.write_u64(u64::MAX),
            }
        }
        hasher.finish()
    }

    fn parse(&self) -> Result<Loaded, Vec<Problem>> {
        let env = self.env.iter().cloned();
        let Some(path) = &self.file else {
            return load(&super::dev_config(), "--dev", "", env);
        };
        let name = path.display().to_string();
        let whole = |message: String| vec![Problem::new(Place::Whole(name.as_str().into()), "", message)];
        let bytes = read_bounded(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".to_owned()))?;
        load(&Config::default(), &name, &text, env)
    }
}

/// The keys that name files, by the convention that they end in `_file`, and the files.
pub(super) fn named_files(config: &Config) -> Vec<(String, String)> {
    fn collect(path: &str, value: &Value, files: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| collect(&super::check::join(path, key), value, files));
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect(&format!("{path}[{index}]"), item, files)),
            Value::String(file) if path.ends_with("_file") && !file.is_empty() => {
                files.push((path.to_owned(), file.clone()));
            }
            _ => {}
        }
    }
    let json = serde_json::to_value(config).expect("a configuration is representable as JSON");
    let mut files = Vec::new();
    collect("", &json, &mut files);
    files
}

fn unreadable(config: &Config, places: &Places) -> Vec<Problem> {
    let check = |(key, file): (String, String)| {
        let error = read_bounded(Path::new(&file)).err()?;
        Some(Problem::new(places.of(&key), key, format!("{file} cannot be read: {error}")))
    };
    named_files(config).into_iter().filter_map(check).collect()
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn own_variables(env: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_says_so() {
        let problems = Source::file("/nowhere/proxy.toml", []).load().unwrap_err();
        assert!(
            problems[0].to_string().starts_with("/nowhere/proxy.toml: cannot be read: "),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn development_defaults_can_be_overridden() {
        let env = [("REVENPROX_HTTP__BIND_ADDRESS".to_owned(), "127.0.0.1:1".to_owned())];
        let config = Source::dev(env).load().unwrap();
        assert_eq!(config.http.bind_address.port(), 1);
        assert!(!config.jwt_verifier.require_authentication);
    }

    #[test]
    fn files_that_are_named_must_be_readable_unless_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        fs::write(
            &file,
            "[admin]\ntoken_file = \"/nowhere/t\"\n[jwt_verifier]\nrequire_authentication = false\n",
        )
        .unwrap();
        let source = Source::file(&file, []);
        let problems = source.load().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "admin.token_file");
        assert!(matches!(problems[0].place, Place::At { line: 2, .. }));
        assert!(source.load_with(NamedFiles::Ignore).is_ok());
    }

    #[test]
    fn a_huge_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        fs::write(&file, vec![b'#'; 1_048_577]).unwrap();
        let problems = Source::file(&file, []).load().unwrap_err();
        assert!(problems[0].message.contains("more than 1048576 bytes"), "{}", problems[0]);
    }
}
