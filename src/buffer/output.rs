//! [`Output`]: the bytes that a connection sends next.

use super::slice::Slice;

/// Slices of fewer bytes than this are copied: that costs less than one more part of the send.
const COPIED_BELOW: usize = 1024;

/// Bytes that are to be sent, in order: its own, and slices between them.
///
/// It is a pointer, and nothing while it has no memory: connections that wait have several of these.
#[derive(Debug, Default)]
pub struct Output(Option<Box<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    bytes: Vec<u8>,
    /// Each stands after so many of `bytes`.
    slices: Vec<(usize, Slice)>,
    slices_length: usize,
    answers: usize,
}

impl Output {
    /// Nothing, with memory for so many bytes of its own.
    pub fn with_capacity(bytes: usize) -> Output {
        Output(Some(Box::new(Parts { bytes: Vec::with_capacity(bytes), ..Parts::default() })))
    }

    #[inline]
    fn parts_mut(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    /// Bytes in all.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.bytes.len() + parts.slices_length)
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that its own bytes are written to, at the end; what is there already must stay.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.parts_mut().bytes
    }

    /// Its own bytes so far.
    #[inline]
    pub fn own(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |parts| &parts.bytes)
    }

    /// Its own bytes so far, to be changed in place.
    #[inline]
    pub fn own_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |parts| &mut parts.bytes)
    }

    /// Adds a payload; a large one is not copied.
    #[inline]
    pub fn push(&mut self, slice: Slice) {
        let parts = self.parts_mut();
        if slice.len() < COPIED_BELOW {
            parts.bytes.extend_from_slice(&slice);
        } else {
            parts.slices_length += slice.len();
            parts.slices.push((parts.bytes.len(), slice));
        }
    }

    /// The parts that are to be sent, without the first `from` bytes of all, in order. None is empty.
    pub fn parts(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = from;
        let mut at = 0;
        let (bytes, slices) = self.0.as_ref().map_or((&[][..], &[][..]), |it| (&it.bytes, &it.slices));
        let ends = slices.iter().map(|(end, slice)| (*end, Some(slice)));
        ends.chain([(bytes.len(), None)])
            .flat_map(move |(end, slice)| {
                let own = &bytes[at..end];
                at = end;
                [own, slice.map_or(&[][..], |slice| slice)]
            })
            .filter_map(move |part| {
                let skipped = skip.min(part.len());
                skip -= skipped;
                let rest = &part[skipped..];
                (!rest.is_empty()).then_some(rest)
            })
    }

    /// How many parts there are at most.
    pub fn parts_max(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.slices.len()) * 2 + 1
    }

    /// So many of the bytes answer the peer's frames.
    pub fn note_answers(&mut self, bytes: usize) {
        self.parts_mut().answers += bytes;
    }

    /// Bytes that answer the peer's frames.
    pub fn answers(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.answers)
    }

    /// Forgets everything and keeps the memory of its own bytes.
    pub fn clear(&mut self) {
        let Some(parts) = &mut self.0 else { return };
        parts.bytes.clear();
        parts.slices.clear();
        parts.slices_length = 0;
        parts.answers = 0;
    }

    /// Whether it has memory.
    #[inline]
    pub fn has_memory(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Output, Vec<u8>) {
        let large: Vec<u8> = (0..2000_u32).map(|n| n as u8).collect();
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"head");
        output.push(Slice::from(large.clone()));
        output.push(Slice::from(large.clone()));
        output.bytes().extend_from_slice(b"mid");
        output.push(Slice::from(b"small".to_vec()));
        output.push(Slice::from(large.clone()));
        (output, [b"head", &large[..], &large, b"midsmall", &large].concat())
    }

    #[test]
    fn parts_are_in_order_from_any_byte() {
        let (output, whole) = output();
        assert_eq!(output.len(), whole.len());
        for from in [0, 1, 4, 5, 2003, 2004, 4004, 4005, 4012, 5000, whole.len()] {
            assert_eq!(output.parts(from).collect::<Vec<_>>().concat(), whole[from..], "{from}");
            assert!(output.parts(from).all(|part| !part.is_empty()));
            assert!(output.parts(from).count() <= output.parts_max());
        }
    }

    #[test]
    fn an_output_without_memory_is_a_pointer() {
        let mut output = Output::default();
        assert!(output.is_empty() && output.own_mut().is_empty() && output.parts(0).next().is_none());
        output.clear();
        assert_eq!((size_of::<Output>(), output.len(), output.has_memory()), (8, 0, false));
    }

    #[test]
    fn small_slices_are_copied() {
        let mut output = Output::default();
        output.push(Slice::from(vec![1; COPIED_BELOW - 1]));
        assert_eq!(output.parts_max(), 1);
        output.push(Slice::from(vec![1; COPIED_BELOW]));
        assert_eq!(output.parts_max(), 3);
        output.clear();
        assert!(output.is_empty() && output.has_memory());
        assert_eq!(output.len(), 0);
    }
}
