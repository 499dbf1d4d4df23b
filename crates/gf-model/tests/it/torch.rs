//! `pytorch_model.bin`: as torch.save writes it (`fixtures/torch/make.py`; more layouts
//! are golden, `golden.rs`), and from hostile hands: refused with the place named, never
//! run.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use burn_flex::{Flex, FlexDevice};
use gf_model::{
    EncoderConfig, Preset,
    checkpoint::{Checkpoint, load_masked_lm, save_masked_lm},
};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// The files of the sharded layout.
const SHARDS: [&str; 4] = [
    "pytorch_model.bin.index.json",
    "pytorch_model-00001-of-00003.bin",
    "pytorch_model-00002-of-00003.bin",
    "pytorch_model-00003-of-00003.bin",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

/// A model folder of fixtures, each under its name in the folder.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in files.iter().chain(&[("config.json", "config.json")]) {
        fs::copy(fixture(file), folder.path().join(name)).unwrap();
    }
    folder
}

/// Every layout that torch.save wrote holds the numbers that safetensors wrote, bit for bit.
#[test]
fn what_torch_saves() {
    fn tensors(folder: &Path, t: impl Fn(&SafeTensors<'_>)) {
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        t(&SafeTensors::deserialize(&bytes).unwrap());
    }
    let t = |files: &[(&str, &str)]| {
        let (folder, saved) = (folder(files), tempfile::tempdir().unwrap());
        let (config, model) = load_masked_lm::<Flex>(folder.path(), &FlexDevice).unwrap();
        save_masked_lm(saved.path(), &config, &model).unwrap();
        tensors(saved.path(), |found| {
            tensors(&fixture(""), |expected| {
                assert_eq!(found.len(), expected.len());
                for (name, expected) in expected.tensors() {
                    assert_eq!(found.tensor(&name).unwrap(), expected, "{files:?}: {name}");
                }
            });
        });
    };
    t(&[("model.safetensors", "model.safetensors")]);
    t(&[("pytorch_model.bin", "protocol_4.bin")]);
    t(&[("pytorch_model.bin", "protocol_5_legacy.bin")]);
    t(&SHARDS.map(|name| (name, name)));
}

/// Tensors that shards lack, hold twice or beyond need, or in another shape are listed by name.
#[test]
fn unfit_shards() {
    let t = |shards: [&str; 3], parts: &[&str]| {
        let folder = folder(&SHARDS.map(|name| (name, name)));
        let path = |name: &str| folder.path().join(name);
        let config = EncoderConfig::read(&path("config.json")).unwrap();
        let config = EncoderConfig { vocab_size: 8, ..config };
        write(&path("config.json"), &config.to_json().to_string());
        fs::write(path("more.bin"), SOUND.bytes()).unwrap();
        fs::copy(path(SHARDS[1]), path("copy.bin")).unwrap();
        let [a, b, c] = shards;
        let index = format!(r#"{{"weight_map": {{"a": "{a}", "b": "{b}", "c": "{c}"}}}}"#);
        write(&path(SHARDS[0]), &index);
        let error = load_masked_lm::<Flex>(folder.path(), &FlexDevice).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    };
    t(
        [SHARDS[1], SHARDS[2], "more.bin"],
        &[
            "pytorch_model.bin.index.json: ",
            "bert.encoder.layer.0.attention.self.query.weight [4, 4] is missing",
            "bert.embeddings.word_embeddings.weight has shape [7, 4], expected [8, 4]",
            "weight is not expected",
        ],
    );
    t(
        [SHARDS[1], SHARDS[2], "copy.bin"],
        &["bert.embeddings.word_embeddings.weight is there twice"],
    );
    t([SHARDS[1], SHARDS[2], "absent.bin"], &["absent.bin: No such file"]);
}

/// A state dict of one tensor as PyTorch before 1.6 saves it: five pickles of
/// protocol 2, then each storage as its number of elements and its bytes.
struct Legacy {
    rebuild: &'static str,
    shape: u8,
    stride: u8,
    offset: u8,
    n_elements: u64,
    n_floats: usize,
}

const SOUND: Legacy = Legacy {
    rebuild: "torch._utils\n_rebuild_tensor_v2",
    shape: 4,
    stride: 1,
    offset: 0,
    n_elements: 4,
    n_floats: 4,
};

impl Legacy {
    fn bytes(&self) -> Vec<u8> {
        let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
        file.extend(b"\x80\x02M\xe9\x03.");
        file.extend(b"\x80\x02}.");
        // An ordered dict with attributes, as `Module.state_dict` returns it.
        file.extend(b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(");
        text(&mut file, "weight");
        file.extend(format!("c{}\n((", self.rebuild).bytes());
        text(&mut file, "storage");
        file.extend(b"ctorch\nFloatStorage\n");
        text(&mut file, "0");
        text(&mut file, "cpu");
        file.extend([b'K', 4, b'N', b't', b'Q', b'K', self.offset]);
        file.extend([b'K', self.shape, 0x85, b'K', self.stride, 0x85, 0x89]);
        file.extend(b"ccollections\nOrderedDict\n)RtRu}");
        text(&mut file, "_metadata");
        file.extend(b"Nsb.");
        file.extend(b"\x80\x02](");
        text(&mut file, "0");
        file.extend(b"e.");
        file.extend(self.n_elements.to_le_bytes());
        file.extend((0..self.n_floats).flat_map(|i| (i as f32).to_le_bytes()));
        file
    }
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.push(b'X');
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(text.bytes());
}

/// Opens a folder of these weights; what is wrong with them, if anything.
fn open(weights: &[u8]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let config = EncoderConfig { num_hidden_layers: 1, ..EncoderConfig::preset(Preset::V1_10M) };
    fs::write(folder.path().join("config.json"), config.to_json().to_string()).unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), weights).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).map_err(|error| error.to_string())?;
    Ok(checkpoint.head_tensors().map(str::to_owned).collect())
}

#[test]
fn what_is_refused() {
    assert_eq!(open(&SOUND.bytes()).unwrap(), ["weight"]);
    fn t(legacy: Legacy, part: &str) {
        let message = open(&legacy.bytes()).unwrap_err();
        assert!(message.contains("pytorch_model.bin") && message.contains(part), "{message}");
    }
    t(
        Legacy { rebuild: "posix\nsystem", ..SOUND },
        "found posix system, expected tensors in plain containers",
    );
    t(Legacy { stride: 2, ..SOUND }, "weight [4] has strides [2], expected row-major order");
    t(Legacy { shape: 5, ..SOUND }, "weight [5] reaches beyond its storage 0");
    t(Legacy { offset: 1, ..SOUND }, "weight [4] reaches beyond its storage 0");
    t(Legacy { n_elements: 5, ..SOUND }, "0: found 5 elements, expected 4");
    t(Legacy { n_floats: 3, ..SOUND }, "0: found 12 bytes, expected 4 elements");
    // Protocol 4 names what it calls by two texts.
    let called = open(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.").unwrap_err();
    assert!(called.contains("byte 18: found posix system, expected tensors"), "{called}");
    assert!(open(b"\x80\x04NN\x93.").unwrap_err().contains("a class without a name"));
    assert!(open(b"plain text").unwrap_err().contains("opcode"));
    assert!(open(b"\x80\x02K\x01.").unwrap_err().contains("magic number"));
}

/// However a file is cut or changed in one byte, it is read or refused.
#[test]
fn damage_never_panics() {
    let later = fs::read(fixture("protocol_5_legacy.bin")).unwrap();
    for (sound, step) in [(SOUND.bytes(), 1), (later, 31)] {
        for end in (0..sound.len()).step_by(step) {
            assert!(open(&sound[..end]).is_err(), "cut at {end}");
        }
        for at in (0..sound.len()).step_by(step) {
            for change in [1, 0x80, 0xff] {
                let mut damaged = sound.clone();
                damaged[at] ^= change;
                drop(open(&damaged));
            }
        }
    }
}

/// The zip layout keeps a checksum of every storage.
#[test]
fn damaged_archives() {
    let Some(golden) = crate::golden_folder() else { return };
    let path = golden.join("configs/layouts/bin_zip_with_decoder/pytorch_model.bin");
    let sound = fs::read(path).unwrap();
    // The first storage starts behind its local header, whose name ends so.
    let name = b"pytorch_model/data/0";
    let at = sound.windows(name.len()).position(|window| window == name).unwrap();
    let mut damaged = sound.clone();
    damaged[at + 200] ^= 1;
    let message = open(&damaged).unwrap_err();
    assert!(message.contains("pytorch_model/data/0: found checksum"), "{message}");
    for end in (0..sound.len()).step_by(997) {
        assert!(open(&sound[..end]).is_err(), "cut at {end}");
    }
}

/// An index that names a file elsewhere, or one that is absent.
#[test]
fn shards_lie_beside_their_index() {
    fn t(index: &str, shard: &str, part: &str) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| write(&folder.path().join(name), text);
        let config = EncoderConfig::preset(Preset::V1_10M).to_json().to_string();
        write("config.json", &config);
        write(index, &format!(r#"{{"weight_map": {{"bert.a": "{shard}"}}}}"#));
        let message = Checkpoint::open(folder.path()).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    }
    for index in ["model.safetensors.index.json", "pytorch_model.bin.index.json"] {
        t(index, "../a.bin", "found the shard \"../a.bin\"");
        t(index, "/a.bin", "found the shard \"/a.bin\"");
        t(index, "a.bin", "a.bin: No such file");
    }
}

fn write(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}
