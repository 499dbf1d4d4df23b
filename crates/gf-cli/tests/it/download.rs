//! Downloading, from a hub that this test is.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::run::{gf, ok};

/// A repository's files by name; says where it listens and how many it has sent.
fn hub(files: BTreeMap<String, Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &files, &count);
        }
    });
    (address, sent)
}

/// One request: the list of files, or the rest of one from a byte on.
fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, sent: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let reply = if path == "/api/models/org/name/revision/main" {
        let siblings: Vec<_> =
            files.keys().map(|f| serde_json::json!({ "rfilename": f })).collect();
        let body = serde_json::json!({ "sha": "0123abcd", "siblings": siblings }).to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
    } else if let Some((name, bytes)) =
        path.strip_prefix("/org/name/resolve/main/").and_then(|f| files.get_key_value(f))
    {
        let range = range.unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let start: usize = start.parse().unwrap();
        let end = end.parse().map_or(bytes.len(), |end: usize| end + 1);
        if end == bytes.len() {
            sent.fetch_add(1, Ordering::SeqCst);
        }
        let mut reply = format!("HTTP/1.1 206 Partial Content\r\netag: \"{}\"\r\nx-repo-commit: 0123abcd\r\ncontent-range: bytes {start}-{}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", name.replace('/', "-"), end - 1, bytes.len(), end - start).into_bytes();
        reply.extend(&bytes[start..end]);
        reply
    } else {
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
    };
    stream.write_all(&reply).unwrap();
}

fn download(folder: &Path, endpoint: &str, line: &str) -> Output {
    let mut command = gf(folder);
    command.arg("download").args(line.split(' '));
    command.env("HF_ENDPOINT", endpoint).env("HF_HUB_CACHE", folder.join("cache"));
    command.output().unwrap()
}

#[test]
fn a_model_arrives_where_it_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    crate::run::tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{}\nmax_steps = 1\n", crate::run::CONFIG)).unwrap();
    ok(folder, "pretrain --config c.toml --data cells.dataset -o pretrain");
    let read = |name: &str| fs::read(folder.join("pretrain/model").join(name)).unwrap();
    let names = ["config.json", "model.safetensors", "vocabulary.tsv", "tokens.json"];
    let mut files: BTreeMap<_, _> = names.map(|name| (format!("small/{name}"), read(name))).into();
    files.insert("dictionaries/genes.pkl".to_owned(), b"genes".to_vec());
    let (endpoint, sent) = hub(files);

    let output = download(folder, &endpoint, "org/name:small");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sent.load(Ordering::SeqCst), 4);
    let again = download(folder, &endpoint, "org/name:small");
    assert_eq!((again.stdout, sent.load(Ordering::SeqCst)), (output.stdout, 4));
    let embed = "embed --data cells.dataset -o";
    ok(folder, &format!("{embed} own.csv --model pretrain/model"));
    let mut command = gf(folder);
    command.env("HF_HUB_CACHE", folder.join("cache")).args(embed.split(' '));
    command.args(["fetched.csv", "--model", "org/name:small"]);
    assert!(command.status().unwrap().success());
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("fetched.csv"), read("own.csv"));

    let output = download(folder, &endpoint, "org/name dictionaries/genes.pkl");
    let path = String::from_utf8(output.stdout).unwrap();
    assert_eq!(fs::read(path.trim()).unwrap(), b"genes");
    for (line, code, message) in [
        ("org/name", 1, "expected config.json with .safetensors"),
        ("org/name absent.pkl", 1, "expected absent.pkl, found dictionaries/genes.pkl"),
        ("org/other", 1, "org/other"),
        ("name", 2, "expected ORG/NAME"),
    ] {
        let output = download(folder, &endpoint, line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && error.contains(message), "{line}: {error}");
    }
    let output = download(folder, "http://127.0.0.1:1", "org/name");
    assert_eq!(output.status.code(), Some(1), "nobody listens");
}
