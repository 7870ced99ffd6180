//! Which layer is in a folder of a `docker save` archive of Docker 1.10 to 24.
//!
//! A folder is called by a hash over the layer's chain ID, its parent's folder and what its `json` says besides: the image IDs of
//! Docker before 1.10. The chain IDs follow from the image's diffIDs, so the layer is known before its bytes come. That is a guess
//! which proves itself: what is called otherwise is in no folder.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use storage_layout::{Algorithm, Digest};

/// Returns the diffID of the layer in the folder `id`, whose file `json` is `document`.
pub(super) fn layer_in<'a>(id: &str, document: &[u8], diff_ids: &'a [Digest]) -> Option<&'a Digest> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(document).ok()?;
    drop(fields.remove("id")?);
    if let Some(parent) = fields.remove("parent") {
        let parent: String = serde_json::from_str(parent.get()).ok()?;
        fields.insert("parent".to_owned(), quoted(&format!("sha256:{parent}"))?);
    }
    // For all layers but the last, Docker adds the operating system after it has hashed the rest.
    let mut without_os = fields.clone();
    drop(without_os.remove("os"));
    let mut chain_id: Option<Digest> = None;
    for diff_id in diff_ids {
        let next = match &chain_id {
            None => diff_id.clone(),
            Some(below) => Algorithm::Sha256.digest(format!("{below} {diff_id}").as_bytes()),
        };
        for fields in [&mut without_os, &mut fields] {
            fields.insert("layer_id".to_owned(), quoted(next.as_str())?);
            if Algorithm::Sha256.digest(&serde_json::to_vec(fields).ok()?).hex() == id {
                return Some(diff_id);
            }
        }
        chain_id = Some(next);
    }
    None
}

fn quoted(text: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layers of an image in Docker 20.10. The last has the bytes of the first.
    const DIFF_IDS: [&str; 4] = [
        "sha256:73312b5142f350c1c49b36bb8983ee858c417105c3fbace75b3e98744bd8b62a",
        "sha256:6d0c570774c505650b5cfb5768bf1fd8bb4923dbe023df141fb79fb70b3a1d5f",
        "sha256:0732ef8d71b9cbed8f777d207cfc4c6da5a066f330a82023e63b15786be91bc5",
        "sha256:73312b5142f350c1c49b36bb8983ee858c417105c3fbace75b3e98744bd8b62a",
    ];
    const NO_CONFIG: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#;
    const FOLDERS: [&str; 4] = [
        "05f30c797ad3ecc52213a85b4b721a07fff946f3ae008157abb7d75c5fc812db",
        "1fbece9f2a678badda03cde7c4ed8bab8bb833e54f86c8c758f29c4283c0783a",
        "375f4f33730bcc6963635ebd27ff84ca190fd16ba23c2c87122c18ab40cf2959",
        "9cf94724de436eb142d3b886c9d68cdebadc975b646666242c004ad9599e19e3",
    ];

    fn diff_ids() -> Vec<Digest> {
        DIFF_IDS.iter().map(|diff_id| diff_id.parse().unwrap()).collect()
    }

    /// What Docker wrote into the file `json` of a folder.
    fn document(index: usize) -> String {
        let parent = if index == 0 { String::new() } else { format!(r#""parent":"{}","#, FOLDERS[index - 1]) };
        let (year, config) = if index == 3 {
            let config = NO_CONFIG.replace(r#""Cmd":null"#, r#""Cmd":["/none"]"#);
            ("0001", format!(r#""config":{config},"architecture":"amd64","#))
        } else {
            ("1970", String::new())
        };
        format!(
            r#"{{"id":"{}",{parent}"created":"{year}-01-01T00:00:00Z","container_config":{NO_CONFIG},{config}"os":"linux"}}"#,
            FOLDERS[index]
        )
    }

    #[test]
    fn folders_of_docker_tell_their_layers() {
        let diff_ids = diff_ids();
        for (index, folder) in FOLDERS.iter().enumerate() {
            assert_eq!(layer_in(folder, document(index).as_bytes(), &diff_ids), Some(&diff_ids[index]), "{index}");
        }
    }

    #[test]
    fn what_is_called_otherwise_is_not_guessed() {
        let diff_ids = diff_ids();
        let document = document(1);
        assert_eq!(layer_in(FOLDERS[2], document.as_bytes(), &diff_ids), None);
        assert_eq!(layer_in(FOLDERS[1], document.as_bytes(), &diff_ids[1..]), None);
        assert_eq!(layer_in(FOLDERS[1], document.replace("1970", "1971").as_bytes(), &diff_ids), None);
        for bad in ["", "[]", "{}", r#"{"id":"a","parent":1}"#] {
            assert_eq!(layer_in(FOLDERS[1], bad.as_bytes(), &diff_ids), None);
        }
    }
}
