//! `add --only-hash`: what an upload would be called, computed here. Nothing is kept of the blocks.

use bytes::BytesMut;
use ipfs_cluster_ctl::client::Content;
use ipfs_cluster_protocol::{
    api::add::{AddParams, AddedOutput},
    content::{
        self, Root, directory::symlink, import::FileImport, options::ImportOptions,
        unixfs::Attributes,
    },
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::tree::Tree;
use crate::exit::Failure;

/// Bytes read from a file at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// Takes lines as they come; a line without a CID says how many bytes were read.
type Tell<'a> = &'a mut (dyn FnMut(AddedOutput) -> Result<(), Failure> + Send);

/// Hashes a tree and tells of every file and folder in it, the root last.
pub(super) async fn hash_tree(
    params: &AddParams,
    tree: Tree,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::local("hashing", e);
    let import = params.import().map_err(|e| failed(&e))?;
    let (mut out, mut read) = (Vec::new(), 0);
    let mut folders = content::tree::Tree::default();
    for upload in tree.uploads {
        let attributes = params.tuning.attributes(upload.attributes);
        let root = match upload.content {
            Content::Folder => {
                let inserted = folders.insert_folder(&upload.name, attributes);
                inserted.map_err(|e| failed(&e))?;
                continue;
            }
            Content::Link(target) => {
                symlink(target.as_bytes(), &import.naming, attributes, &mut out)
            }
            Content::File(file) => hash_file(file, &import, attributes, &mut read, tell)
                .await
                .map_err(|e| Failure::local("hashing", format!("{}: {e}", upload.name)))?,
        };
        out.clear();
        let name = match upload.name {
            // What comes without a name is called by its CID.
            name if name.is_empty() => root.cid.to_string(),
            name => name,
        };
        folders.insert(&name, root).map_err(|e| failed(&e))?;
        tell(line(name, root))?;
    }
    if params.wrap {
        folders.wrap(params.tuning.attributes(Attributes::default()));
    }
    let done = folders.finish(&import, &mut out).map_err(|e| failed(&e))?;
    for folder in done {
        tell(line(folder.path, folder.root))?;
    }
    Ok(())
}

async fn hash_file(
    mut file: impl AsyncRead + Unpin,
    import: &ImportOptions,
    attributes: Attributes,
    read: &mut u64,
    tell: Tell<'_>,
) -> anyhow::Result<Root> {
    let mut file_import = FileImport::new(import)?.with_attributes(attributes);
    let mut blocks = Vec::new();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE_BYTES);
        let n = file.read_buf(&mut buffer).await?;
        if n == 0 {
            break;
        }
        file_import.write(buffer.split().freeze(), &mut blocks);
        blocks.clear();
        *read += n as u64;
        tell(AddedOutput {
            bytes: *read,
            ..AddedOutput::default()
        })?;
    }
    Ok(file_import.finish(&mut blocks))
}

fn line(name: String, root: Root) -> AddedOutput {
    AddedOutput {
        name,
        cid: Some(root.cid),
        size: root.dag_size,
        ..AddedOutput::default()
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_ctl::client::Upload;

    use super::*;

    async fn hash(params: &AddParams, uploads: Vec<Upload>) -> Vec<(String, String)> {
        let tree = Tree { uploads, bytes: 0 };
        let mut lines = Vec::new();
        let mut tell = |line: AddedOutput| {
            lines.extend(line.cid.map(|cid| (line.name, cid.to_string())));
            Ok(())
        };
        hash_tree(params, tree, &mut tell).await.unwrap();
        lines
    }

    #[tokio::test]
    async fn cids_are_those_of_an_upload() {
        let folder = Upload {
            content: Content::Folder,
            ..Upload::bytes("d", "")
        };
        let uploads = vec![
            folder,
            Upload::bytes("d/a.txt", "aaa\n"),
            Upload::bytes("d/sub/b.txt", "bbb\n"),
        ];
        let mut params = AddParams {
            wrap: true,
            ..AddParams::default()
        };
        let own = |(n, c): &(&str, &str)| ((*n).to_owned(), (*c).to_owned());
        // As the Go cluster and Kubo have them.
        let expected = [
            ("d/a.txt", "QmUzA3j2VBbmajMVJwCL5JYim86WaJuAj5B4HVWpFyQZLV"),
            (
                "d/sub/b.txt",
                "Qma3n3uXiPmRk1hEYUJHafEKzgCUzjPi12YCT3HNGyXuVz",
            ),
            ("d/sub", "QmWrHnzVdDyKNuUyo7kge3n2daTVcTPiefgXzu2EPc7JVo"),
            ("d", "QmNoZRdguN3tmuJ6fKuJbD6dumvsvgNiJSBpmXsuqxgjk2"),
            ("", "QmV7nxXcuEoGeANpLs4srM7z4aLJziv9MpsV63zoq1oZ7k"),
        ];
        let expected: Vec<_> = expected.iter().map(own).collect();
        assert_eq!(hash(&params, uploads).await, expected);

        params.wrap = false;
        let hello = "QmccvEeJ1S95baJ6brLwNCKc6uq89vpVEoUGcEXc5FHhaX".to_owned();
        let nameless = vec![Upload::bytes("", "hello cluster\n")];
        let lines = hash(&params, nameless).await;
        assert_eq!(lines, [(hello.clone(), hello)]);
    }

    #[tokio::test]
    async fn options_that_cannot_be_are_told() {
        let params = AddParams {
            chunker: "foo".to_owned(),
            ..AddParams::default()
        };
        let done = hash_tree(&params, Tree::default(), &mut |_| Ok(())).await;
        assert_eq!(
            done.unwrap_err().to_string(),
            "error hashing: unrecognized chunker option: foo"
        );
    }
}
