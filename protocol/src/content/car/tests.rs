use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::content::hash::name_like;

fn cid(n: u8) -> Cid {
    let (version, codec) = if n.is_multiple_of(2) {
        (0, 0x70)
    } else {
        (1, 0x55)
    };
    name_like(version, codec, 0x12, 32, &[n]).unwrap()
}

fn read(archive: &[u8], piece: usize) -> Result<(Vec<Cid>, Vec<Block>), CarError> {
    let (mut reader, mut roots, mut blocks) = (CarReader::default(), vec![], vec![]);
    for piece in archive.chunks(piece) {
        reader.push(piece);
        while let Some(item) = reader.take()? {
            match item {
                Item::Roots(found) => roots = found,
                Item::Block(block) => blocks.push(block),
            }
        }
    }
    reader.finish()?;
    Ok((roots, blocks))
}

fn v1(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    let mut out = header(roots);
    for block in blocks {
        out.extend(section(&block.cid, &block.data));
    }
    out
}

fn v2(payload: &[u8], padding: usize) -> Vec<u8> {
    let mut out = hex::decode("0aa16776657273696f6e02").unwrap();
    out.extend([0; 16]);
    out.extend((51 + padding as u64).to_le_bytes());
    out.extend((payload.len() as u64).to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(vec![0; padding]);
    out.extend(payload);
    out
}

fn blocks(datas: Vec<Vec<u8>>) -> Vec<Block> {
    let datas = datas.into_iter().enumerate();
    datas
        .map(|(n, data)| Block {
            cid: cid(n as u8),
            data: data.into(),
        })
        .collect()
}

proptest! {
    #[test]
    fn archives_come_back_in_any_pieces(
        roots in proptest::collection::vec(any::<u8>(), 0..5),
        datas in proptest::collection::vec(any::<Vec<u8>>(), 0..9),
        piece in 1usize..200,
        version2 in any::<bool>(),
        padding in 0usize..50,
    ) {
        let roots: Vec<_> = roots.into_iter().map(cid).collect();
        let blocks = blocks(datas);
        let mut archive = v1(&roots, &blocks);
        if version2 {
            archive = v2(&archive, padding);
            // An index, which is none of the reader's business.
            archive.extend([0xff; 30]);
        }
        prop_assert_eq!(read(&archive, piece), Ok((roots, blocks)));
    }

    #[test]
    fn an_archive_that_ends_early_is_told(cut in 1usize..400, version2 in any::<bool>()) {
        let blocks = blocks(vec![vec![1; 100], vec![2; 100]]);
        let mut archive = v1(&[cid(0)], &blocks);
        if version2 {
            archive = v2(&archive, 3);
        }
        let cut = cut % archive.len();
        let read = read(&archive[..cut], 7);
        if version2 || read.is_err() {
            prop_assert_eq!(read, Err(CarError::Eof));
        } else {
            // Between two blocks a version 1 may end: it does not say how long it is.
            let (_, found) = read.unwrap();
            prop_assert!(found.len() < 2, "{cut}");
        }
    }

    #[test]
    fn garbage_never_panics(bytes in any::<Vec<u8>>(), piece in 1usize..20) {
        let _ = read(&bytes, piece);
        let mut archive = header(&[cid(0)]);
        archive.extend(&bytes);
        let _ = read(&archive, piece);
        let _ = read(&v2(&bytes, 0), piece);
    }

    #[test]
    fn a_flipped_bit_never_panics(at in 0usize..1000, bit in 0u8..8, version2 in any::<bool>()) {
        let mut archive = v1(&[cid(0), cid(1)], &blocks(vec![vec![1; 10], vec![]]));
        if version2 {
            archive = v2(&archive, 3);
        }
        let at = at % archive.len();
        archive[at] ^= 1 << bit;
        let _ = read(&archive, 5);
    }
}

#[test]
fn a_header_is_the_specifications() {
    let root = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
        .parse()
        .unwrap();
    let bytes = hex::encode(header(&[root]));
    // {"roots": [42(h'00' + CID)], "version": 1}
    let cid = "1220bfccda787baba32b59c78450ac3d20b633360b43992c77289f9ed46d843561e6";
    let expected = format!("38a265726f6f747381d82a582300{cid}6776657273696f6e01");
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_held() {
    let mut archive = header(&[]);
    put_number(&mut archive, 1 << 40);
    assert_eq!(read(&archive, 1000), Err(CarError::Section(1 << 40)));
    let mut archive = header(&[]);
    archive.extend([0, 0, 0]);
    assert_eq!(read(&archive, 1000), Err(CarError::Section(0)));
    assert_eq!(read(&[0xff; 20], 3), Err(CarError::Section(u64::MAX)));
    assert_eq!(read(b"", 1), Err(CarError::Eof));
    let mut claims = vec![14, 0xa1, 0x65];
    claims.extend(b"roots");
    claims.extend([0x9a, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    assert_eq!(read(&claims, 99), Err(CarError::Roots));
}

#[test]
fn a_payload_within_the_header_is_refused() {
    let mut archive = v2(&header(&[]), 0);
    archive[27] = 50;
    assert_eq!(read(&archive, 99), Err(CarError::Offset(50)));
}
