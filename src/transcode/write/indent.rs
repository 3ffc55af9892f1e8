//! Compact JSON made readable: a line for each element, two spaces for each level.

/// Gives what stands in `out` from `begin` on lines and indentation. It must be JSON without whitespace.
pub(super) fn indent(out: &mut Vec<u8>, begin: usize) {
    let end = out.len();
    let mut level = 0;
    let mut in_string = false;
    let mut at = begin;
    // The new text grows behind the old one, and takes its place when it is whole.
    while at < end {
        let byte = out[at];
        at += 1;
        if in_string {
            out.push(byte);
            match byte {
                b'"' => in_string = false,
                b'\\' => {
                    out.push(out[at]);
                    at += 1;
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' if matches!(out[at], b'}' | b']') => {
                out.extend_from_slice(&[byte, out[at]]);
                at += 1;
            }
            b'{' | b'[' => {
                out.push(byte);
                level += 1;
                line(out, level);
            }
            b'}' | b']' => {
                level -= 1;
                line(out, level);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(out, level);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
    out.copy_within(end.., begin);
    out.truncate(out.len() - (end - begin));
}

fn line(out: &mut Vec<u8>, level: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * level, b' ');
}
