//! What a client makes of the bytes of a stream (WHATWG HTML, section 9.2.6).

/// One event, or what has only an id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) data: Option<String>,
}

/// The blocks of a text that ends with a whole one.
pub(super) fn blocks(text: &[u8]) -> Vec<Block> {
    let text = std::str::from_utf8(text).expect("streams are UTF-8");
    let blocks = text.split_inclusive("\n\n").map(|block| {
        assert!(block.ends_with("\n\n"), "a stream has whole blocks: {text:?}");
        let mut out = Block::default();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "id" => out.id = Some(value.to_owned()),
                "event" => out.event = Some(value.to_owned()),
                "data" => out.data = Some(value.to_owned()),
                other => panic!("no field {other:?} was sent: {text:?}"),
            }
        }
        out
    });
    blocks.collect()
}

/// Takes the chunks of a body apart (RFC 9112, section 7.1).
pub(super) fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&bytes[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is a number");
        let chunk = &bytes[end + 2..];
        out.extend_from_slice(&chunk[..size]);
        assert_eq!(&chunk[size..size + 2], b"\r\n", "a chunk ends");
        bytes = &chunk[size + 2..];
    }
    out
}
