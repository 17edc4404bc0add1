//! Seeds, and inputs that once made a target fail, are kept in `fuzz/seeds` of the repository.

use std::{fs, path::Path};

use super::TARGETS;

#[test]
fn seeds_and_findings_pass() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return; // a packaged crate
    }
    for (name, target) in TARGETS {
        let folder = fs::read_dir(fuzz.join("seeds").join(name)).unwrap();
        let mut count = 0;
        for seed in folder {
            let data = fs::read(seed.unwrap().path()).unwrap();
            target(&data);
            count += 1;
        }
        assert!(count > 0, "no seeds for {name}");
        assert!(fuzz.join("fuzz_targets").join(name).with_extension("rs").exists(), "{name}");
    }
}
