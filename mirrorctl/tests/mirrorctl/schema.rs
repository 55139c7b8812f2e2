//! `mirrorctl schema`: the file that editors are pointed at is what it prints. What it takes and refuses is tested in `schema/`.

use crate::{ROOT, mirrorctl};
use std::fs;

#[test]
fn the_file_is_up_to_date() {
    let file = fs::read_to_string(format!("{ROOT}/schema/traffic-mirror.schema.json")).unwrap();
    assert!(mirrorctl(&["schema"], "").ok() == file, "run: dist/mirrorctl schema > schema/traffic-mirror.schema.json");
}
