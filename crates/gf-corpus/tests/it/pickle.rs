//! Pickles: the reference's dictionaries, what Python writes, and hostile ones.

use std::{path::Path, process::Command};

use gf_corpus::pickle::{self, Value, from_bytes};
use proptest::prelude::*;

use crate::support::{shared, text};

fn load(bytes: &[u8]) -> Result<Value, String> {
    from_bytes(Path::new("hand.pkl"), bytes).map_err(|error| error.to_string())
}

/// Checks that a dictionary of numbers equals its table.
#[track_caller]
fn dictionary(name: &str) {
    let (Some(pickle), Some(table)) =
        (shared(&format!("dicts/{name}.pkl")), shared(&format!("dicts/{name}.tsv.gz")))
    else {
        return;
    };
    let Value::Dict(pairs) = pickle::read(&pickle).unwrap() else { panic!("no dictionary") };
    let number = |value: &Value| match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        other => panic!("{other:?}"),
    };
    let mut found: Vec<(&str, f64)> = Vec::new();
    for (key, value) in &pairs {
        let Value::Str(key) = key else { panic!("{key:?}") };
        found.push((key, number(value)));
    }
    let table = text(&table);
    let mut expected: Vec<(&str, f64)> = table
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
        .collect();
    assert!(expected.len() > 20_000, "{name}: {} rows", expected.len());
    found.sort_by(|a, b| a.0.cmp(b.0));
    expected.sort_by(|a, b| a.0.cmp(b.0));
    assert!(found == expected, "{name} differs from its table");
}

#[test]
fn the_reference_dictionaries_equal_their_tables() {
    dictionary("token_dictionary_gc104M");
    dictionary("token_dictionary_gc30M");
    dictionary("gene_median_dictionary_gc104M");
    dictionary("gene_median_dictionary_gc30M");
}

#[track_caller]
fn check(bytes: &[u8], expected: Value) {
    assert_eq!(load(bytes).unwrap(), expected);
}

#[test]
fn plain_values_of_all_protocols() {
    let one = || Value::List(vec![Value::Int(1)]);
    check(b"(lp0\nI1\na.", one());
    check(b"\x80\x02]q\x00K\x01a.", one());
    check(b"\x80\x04\x95\x06\0\0\0\0\0\0\0]\x94K\x01a.", one());
    check(b"I01\n.", Value::Bool(true));
    check(b"I00\n.", Value::Bool(false));
    check(b"N.", Value::None);
    check(b"L-5L\n.", Value::Int(-5));
    check(b"\x8a\x00.", Value::Int(0));
    check(b"\x8a\x01\xff.", Value::Int(-1));
    check(b"\x8a\x08\0\0\0\0\0\0\0\x80.", Value::Int(i64::MIN));
    check(b"J\xfe\xff\xff\xff.", Value::Int(-2));
    check(b"F1.5\n.", Value::Float(1.5));
    check(b"G\x3f\xf8\0\0\0\0\0\0.", Value::Float(1.5));
    check(b"S'it\\'s'\n.", Value::Str("it's".into()));
    check(b"V\\u00e9\xe8\n.", Value::Str("éè".into()));
    check(b"C\x02ab.", Value::Bytes(b"ab".to_vec()));
    check(b"\x8f(K\x01\x90.", Value::Set(vec![Value::Int(1)]));
    check(b"K\x01K\x02\x86.", Value::Tuple(vec![Value::Int(1), Value::Int(2)]));
    check(b"cbuiltins\nset\n(lI1\na\x85R.", Value::Set(vec![Value::Int(1)]));
    let dict = || Value::Dict(vec![(Value::Int(1), Value::Int(2))]);
    check(b"ccollections\ndefaultdict\n(cbuiltins\nlist\ntRI1\nI2\ns.", dict());
    check(b"ccollections\nOrderedDict\n)RI1\nI2\ns.", dict());
    check(b"c_codecs\nencode\n(V\\u00ff\nVlatin1\ntR.", Value::Bytes(vec![255]));
}

#[test]
fn numpy_scalars() {
    let dtype = |name: &str, order: &str| {
        format!("cnumpy\ndtype\n(V{name}\nI00\nI01\ntR(I3\nV{order}\nNNNI-1\nI-1\nI0\ntb")
    };
    let check = |name: &str, order: &str, bytes: &[u8], expected| {
        let mut pickle = b"cnumpy.core.multiarray\nscalar\n(".to_vec();
        pickle.extend(dtype(name, order).bytes());
        pickle.extend([b'C', bytes.len() as u8]);
        pickle.extend(bytes);
        pickle.extend(b"tR.");
        assert_eq!(load(&pickle).ok(), expected, "{name} {order}");
    };
    check("i2", "<", &[0xfe, 0xff], Some(Value::Int(-2)));
    check("i2", ">", &[0xff, 0xfe], Some(Value::Int(-2)));
    check("u1", "|", &[200], Some(Value::Int(200)));
    check("f8", "<", &1.5f64.to_le_bytes(), Some(Value::Float(1.5)));
    check("f4", "<", &1.5f32.to_le_bytes(), Some(Value::Float(1.5)));
    check("b1", "|", &[1], Some(Value::Bool(true)));
    check("u8", "<", &[0xff; 8], None);
    check("f8", "<", &[0; 4], None);
    check("O8", "|", &[0; 8], None);
}

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) {
    let message = load(bytes).unwrap_err();
    for word in words.iter().chain([&"hand.pkl"]) {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn hostile_pickles() {
    refused(b"cos\nsystem\n(S'ls'\ntR.", &["byte 0", "os.system", "plain values"]);
    refused(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.", &["posix.system"]);
    refused(b"cbuiltins\neval\n(S'1'\ntR.", &["builtins.eval"]);
    refused(b"(S'ls'\nios\nsystem\n.", &["operation 0x69"]);
    refused(b"cbuiltins\nlist\n.", &["Factory"]);
    refused(b"cbuiltins\nlist\n)R.", &["a call of"]);
    refused(b"]N}b.", &["a state"]);
    refused(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", &["a length of 9223372036854775807"]);
    refused(b"B\xff\xff\xff\xff.", &["a length of 4294967295"]);
    refused(b"\x95\xff\xff\xff\xff\xff\xff\xff\xff.", &["a length within the file"]);
    refused(b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", &["9 bytes", "64 bits"]);
    refused(b"L99999999999999999999L\n.", &["64 bits"]);
    refused(b"\x80\x06N.", &["protocol 6"]);
    refused(b".", &["an empty stack"]);
    refused(b"(.", &["an empty stack"]);
    refused(b"N(0.", &["an empty stack"]);
    refused(b"u.", &["no mark"]);
    refused(b"}(Nu.", &["a key without a value"]);
    refused(b"N(Ne.", &["a list or set"]);
    refused(b"h\x05.", &["memo 5"]);
    refused(b"X\x01\0\0\0\xff.", &["UTF-8"]);
    refused(b"", &["0 bytes left"]);
}

#[test]
fn bombs() {
    let deep = |n: usize| [vec![b']'; n], vec![b'a'; n - 1], vec![b'.']].concat();
    assert!(load(&deep(100)).is_ok());
    refused(&deep(1_000_000), &["a deeper nest"]);
    refused(b"]q\x00h\x00a.", &["a deeper nest"]);
    // Each list holds the one before twice: 2^60 values.
    let doubled: Vec<u8> =
        (1..60u8).flat_map(|n| [b']', b'q', n, b'(', b'h', n - 1, b'h', n - 1, b'e']).collect();
    refused(&[b"]q\x00".as_slice(), &doubled, b"."].concat(), &["over and over"]);
    // One long text, referred to often.
    let long = [b"]X\0\0\x01\0".as_slice(), &[b'a'; 1 << 16], b"q\x000("].concat();
    let often = [long.as_slice(), &b"h\x00".repeat(1 << 14), b"e."].concat();
    refused(&often, &["over and over"]);
    // A long list of itself.
    let own = [b"]q\x00(".as_slice(), &b"h\x00".repeat(1 << 16), b"e."].concat();
    refused(&own, &["over and over"]);
    // One long list, made a set often.
    let list = [b"(".as_slice(), &[b'N'; 1 << 16], b"lq\x00(cbuiltins\nset\nq\x01"].concat();
    refused(&[list.as_slice(), &b"h\x01h\x00\x85R".repeat(1 << 14), b"l."].concat(), &["calls"]);
}

#[test]
fn no_pickle_beyond_the_limit_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pkl");
    std::fs::File::create(&path).unwrap().set_len(pickle::MAX_BYTES + 1).unwrap();
    let message = pickle::read(&path).unwrap_err().to_string();
    assert!(message.contains("long.pkl") && message.contains("16777217"), "{message}");
}

/// `{(gene or genes, what was compared): similarities}`.
fn similarities(name: &str) -> Option<Vec<(Vec<Value>, Vec<f64>)>> {
    let path = shared(&format!("golden/ref/isp_v2/pickles/{name}"))?;
    let Value::Dict(pairs) = pickle::read(&path).unwrap() else { panic!("no dictionary") };
    let float = |value| if let Value::Float(number) = value { number } else { panic!("{value:?}") };
    let entry = |pair| match pair {
        (Value::Tuple(key), Value::List(list)) => (key, list.into_iter().map(float).collect()),
        other => panic!("{other:?}"),
    };
    Some(pairs.into_iter().map(entry).collect())
}

#[test]
fn perturbation_results_are_read() {
    let two = Value::Tuple(vec![Value::Int(2258), Value::Int(18188)]);
    let list = |n: usize, first: [f64; 2], entry: &(Vec<Value>, Vec<f64>), end: Value| {
        assert_eq!((&entry.0, entry.1.len()), (&vec![two.clone(), end], n));
        assert_eq!(entry.1[..2], first);
    };
    // As Python 3.11 reads them.
    let cells = "oe_list2/in_silico_overexpress_oe_list2_cell_embs_dict_[2258, 18188]_raw.pickle";
    if let Some(found) = similarities(cells) {
        assert_eq!(found.len(), 1);
        let first = [0.9966498017311096, 0.9803380370140076];
        list(6, first, &found[0], Value::Str("cell_emb".to_owned()));
    }
    let genes = "oe_list2/in_silico_overexpress_oe_list2_gene_embs_dict_[2258, 18188]_raw.pickle";
    if let Some(found) = similarities(genes) {
        assert_eq!((found.len(), found.iter().map(|entry| entry.1.len()).sum()), (71, 134));
        list(
            found[0].1.len(),
            [0.8150520324707031, 0.8156788349151611],
            &found[0],
            Value::Int(20163),
        );
    }
}

const SAMPLE: &[u8] = b"\x80\x04\x95\x30\0\0\0\0\0\0\0}\x94(\x8c\x05<pad>\x94K\0\x8c\x03abc\x94G\x3f\xf8\0\0\0\0\0\0\x8c\x01l\x94](K\x01M\x01\x02\x8a\x02\x01\x02eu.";

#[test]
fn truncated_at_every_byte() {
    assert!(load(SAMPLE).is_err(), "its frame is longer than it");
    let mut whole = SAMPLE.to_vec();
    whole[3] = (SAMPLE.len() - 11) as u8;
    assert!(load(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(load(&whole[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes);
    }

    #[test]
    fn no_change_makes_it_panic(at in 0..SAMPLE.len(), byte: u8) {
        let mut bytes = SAMPLE.to_vec();
        bytes[at] = byte;
        let _ = load(&bytes);
    }

    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec((".*", any::<f64>()), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("medians.pkl");
        pickle::write_f64_dict(&path, entries.iter().map(|(name, n)| (name.as_str(), *n))).unwrap();
        let Value::Dict(found) = pickle::read(&path).unwrap() else { panic!("no dictionary") };
        prop_assert_eq!(found.len(), entries.len());
        for ((key, value), (name, number)) in found.iter().zip(&entries) {
            prop_assert_eq!(key, &Value::Str(name.clone()));
            let Value::Float(value) = value else { panic!("{value:?}") };
            prop_assert_eq!(value.to_bits(), number.to_bits());
        }
    }
}

/// Runs only where there is a Python.
#[test]
fn python_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("medians.pkl");
    pickle::write_f64_dict(&path, [("ENSG00000136574", 3.25), ("é", 1e-300)]).unwrap();
    let script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')) == {'ENSG00000136574': 3.25, 'é': 1e-300})";
    let Ok(run) = Command::new("python3").args(["-c", script]).arg(&path).output() else {
        eprintln!("SKIPPED: no python3");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "True");
}
