//! Adapter folders.

use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use gf_quant::lora::peft;

use super::{ENCODER_ONLY, SEQ_CLS, TOKEN_CLS, folder};
use crate::fixture::golden;

/// Folders, written and read back: the same matrices, hyper-parameters and extras; a
/// config of an older PEFT is read, and what would compute something else is refused.
#[test]
fn folders() {
    let Some(_) = golden("lora") else { return };
    for case in ENCODER_ONLY.into_iter().chain([SEQ_CLS, TOKEN_CLS]) {
        let (adapter, extras) = peft::read::<Flex>(&folder(case), &FlexDevice).unwrap();
        let target = tempfile::tempdir().unwrap();
        peft::write_folder(target.path(), &adapter, &extras).unwrap();
        let bytes = |folder: &Path| std::fs::read(folder.join(peft::WEIGHTS_FILE)).unwrap();
        assert_eq!(bytes(target.path()), bytes(&folder(case)), "{case}");
        let (again, again_extras) = peft::read::<Flex>(target.path(), &FlexDevice).unwrap();
        assert_eq!((again.config, again_extras), (adapter.config, extras), "{case}");
    }
    let mixed = tempfile::tempdir().unwrap();
    let config = mixed.path().join(peft::CONFIG_FILE);
    let weights = folder("query_value").join(peft::WEIGHTS_FILE);
    std::fs::copy(weights, mixed.path().join(peft::WEIGHTS_FILE)).unwrap();
    let old = folder("old_peft_0.13.2_config").join(peft::CONFIG_FILE);
    let old = std::fs::read_to_string(old).unwrap();
    std::fs::write(&config, &old).unwrap();
    assert_eq!(peft::read::<Flex>(mixed.path(), &FlexDevice).unwrap().0.config.r, 4);
    for (from, to) in [
        ("\"use_dora\": false", "\"use_dora\": true"),
        ("\"LORA\"", "\"IA3\""),
        ("\"r\": 4", "\"r\": 5"),
    ] {
        std::fs::write(&config, old.replace(from, to)).unwrap();
        let error = peft::read::<Flex>(mixed.path(), &FlexDevice).unwrap_err().to_string();
        assert!(error.contains("expected"), "{to}: {error}");
    }
}
