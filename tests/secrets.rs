//! Secrets in files that other programs write: a new one is taken up at its next use, and an accident takes none away.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "helpers of tests may fail a test, and a stand-in has a clock of its own"
)]

#[path = "support/log.rs"]
mod log;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use authwatch::secret::{Secret, SecretError, SecretRef, Secrets};
use log::Log;

const CANARY: &str = "canary-90bd";

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    reference: SecretRef,
    secrets: Secrets,
}

impl Bench {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, text).expect("writes");
        let reference = SecretRef::File(path.clone());
        Self { _folder: folder, path, reference, secrets: Arc::new(|_: &str| None).into() }
    }

    /// As an agent does: a new file in the place of the old one.
    fn replace(&self, text: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, text).expect("writes");
        fs::rename(&new, &self.path).expect("renames");
    }

    async fn now(&self) -> String {
        self.secrets.current(&self.reference).await.expect("a secret").expose().to_owned()
    }
}

#[tokio::test]
async fn a_file_that_was_written_again_is_read_again() {
    let bench = Bench::with("first\n");
    assert_eq!(bench.now().await, "first");
    fs::write(&bench.path, "other\n").expect("writes");
    assert_eq!(bench.now().await, "other", "of the same length");
    bench.replace("third\r\n");
    assert_eq!(bench.now().await, "third", "a new file in its place");
}

#[tokio::test]
async fn a_mounted_secret_that_is_swapped_by_its_link_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, link) = (folder.path().join("..data"), folder.path().join("token"));
    for (version, text) in [("v1", "first"), ("v2", "second")] {
        let version = folder.path().join(version);
        fs::create_dir(&version).expect("makes");
        fs::write(version.join("token"), text).expect("writes");
    }
    std::os::unix::fs::symlink(folder.path().join("v1"), &data).expect("links");
    std::os::unix::fs::symlink(data.join("token"), &link).expect("links");
    let secrets: Secrets = Arc::new(|_: &str| None).into();
    let reference = SecretRef::File(link);
    assert_eq!(secrets.current(&reference).await.expect("a secret"), Secret::new("first"));
    let new = folder.path().join("..new");
    std::os::unix::fs::symlink(folder.path().join("v2"), &new).expect("links");
    fs::rename(new, data).expect("swaps");
    assert_eq!(secrets.current(&reference).await.expect("a secret"), Secret::new("second"));
}

#[tokio::test]
async fn what_is_no_secret_is_said_once_and_the_old_one_is_kept() {
    let (log, _guard) = Log::listen();
    let first = format!("{CANARY}-first");
    let bench = Bench::with(&first);
    assert_eq!(bench.now().await, first);
    let cut = &first[..9];
    for (text, why) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("<no value>", "holds `<no value>`"),
        (cut, "holds only the beginning"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "is cut off"),
    ] {
        let before = log.count("the old secret is kept");
        bench.replace(text);
        for _ in 0..3 {
            assert_eq!(bench.now().await, first, "{text}");
        }
        let new = usize::from(text != "\n");
        assert_eq!(log.count("the old secret is kept"), before + new, "{text:?} is said once, as the same trouble");
        assert!(log.text().contains(why), "{text}");
    }
    fs::remove_file(&bench.path).expect("removes");
    assert_eq!(bench.now().await, first);
    assert!(log.text().contains("No such file"), "the cause is in the line");
    let second = format!("{CANARY}-second");
    bench.replace(&second);
    assert_eq!(bench.now().await, second);
    assert_eq!(log.count("a new secret was read"), 1);
    assert_eq!(log.count(CANARY), 0, "no line holds a secret");
}

#[tokio::test]
async fn the_first_read_has_nothing_to_keep_and_says_why() {
    for (text, why) in [("", "is empty"), ("<no value>\n", "error_on_missing_key"), ("{\"kty\":", "is cut off")] {
        let bench = Bench::with(text);
        let error = bench.secrets.current(&bench.reference).await.expect_err(text).to_string();
        assert!(error.contains(why) && error.contains(&bench.path.display().to_string()), "{text}: {error}");
    }
    let secrets: Secrets = Arc::new(|_: &str| None).into();
    let error = secrets.current(&SecretRef::File(Path::new("/no/such/file").into())).await.expect_err("none");
    assert!(matches!(error, SecretError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_variable_is_looked_up_each_time() {
    let value = Arc::new(Mutex::new(Some("first".to_owned())));
    let held = Arc::clone(&value);
    let secrets: Secrets =
        Arc::new(move |name: &str| held.lock().expect("no panic").clone().filter(|_| name == "T")).into();
    let reference = SecretRef::Env("T".to_owned());
    assert_eq!(secrets.current(&reference).await.expect("set"), Secret::new("first"));
    *value.lock().expect("no panic") = Some("second \n".to_owned());
    assert_eq!(secrets.current(&reference).await.expect("set"), Secret::new("second"));
    *value.lock().expect("no panic") = None;
    let error = secrets.current(&reference).await.expect_err("unset");
    assert!(error.to_string().contains("`T` is not set"), "{error}");
}

#[tokio::test]
async fn a_pipe_that_nobody_writes_to_holds_up_nobody() {
    let bench = Bench::with("first");
    assert_eq!(bench.now().await, "first");
    fs::remove_file(&bench.path).expect("removes");
    let made = std::process::Command::new("mkfifo").arg(&bench.path).status().expect("runs");
    assert!(made.success());
    let asked = Instant::now();
    assert_eq!(bench.now().await, "first");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn many_who_ask_at_once_get_the_same_secret() {
    let bench = Bench::with("first");
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let (secrets, reference) = (bench.secrets.clone(), bench.reference.clone());
            tokio::spawn(async move { secrets.current(&reference).await.expect("a secret") })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.expect("no panic"), Secret::new("first"));
    }
}
