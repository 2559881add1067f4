//! Bodies of uploads.

pub(super) const BOUNDARY: &str = "xxBOUNDARYxx";

/// A multipart body; a content of none is a folder.
pub(super) fn body(parts: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let media_type = match content {
            Some(_) => "application/octet-stream",
            None => "application/x-directory",
        };
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {media_type}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content.unwrap_or_default());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}
