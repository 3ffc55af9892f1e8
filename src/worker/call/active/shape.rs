//! How many messages of a call go which way, so that streams are counted apart.

/// How many messages go which way, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// By configuration or descriptors: whether one goes each way.
    unary: Option<bool>,
    /// The head of a response was passed on.
    responds: bool,
    /// The response ended in order, with one message at most.
    is_short: bool,
    /// The gateway answered itself, in place of any service.
    is_plain: bool,
}

impl Shape {
    /// Notes that the gateway answers itself what is no call.
    pub(super) fn responded_here(&mut self) {
        self.is_plain = true;
    }

    /// Notes that the head of a response is passed on.
    pub(super) fn responds(&mut self) {
        self.responds = true;
    }

    /// Notes the end of a response. `is_short`: it ended in order, with one message at most.
    pub(super) fn responded(&mut self, is_short: bool) {
        self.is_short = is_short;
    }

    /// Sets whether one message goes each way, as far as configuration or descriptors tell.
    pub(super) fn declare(&mut self, unary: Option<bool>) {
        self.unary = unary;
    }

    /// Whether the gateway answers itself what is no call.
    pub(super) fn is_local_response(self) -> bool {
        self.is_plain
    }

    /// Whether the call is a stream. `asks_much`: the request had several messages.
    pub(super) fn is_stream(self, asks_much: bool) -> bool {
        match self.unary {
            Some(is_unary) => !is_unary,
            // A response without an end is that of a stream: a single message and the status after it come together.
            None => asks_much || (self.responds && !self.is_short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_goes_before_what_is_seen() {
        let shape = |unary, responds, is_short| Shape { unary, responds, is_short, is_plain: false };
        for (shape, asks_much, wanted) in [
            // Refused, or a status alone.
            (shape(None, false, false), false, false),
            (shape(None, true, true), false, false),
            (shape(None, true, true), true, true),
            // Several messages, or none of an end.
            (shape(None, true, false), false, true),
            (shape(Some(true), true, false), true, false),
            (shape(Some(false), true, true), false, true),
        ] {
            assert_eq!(shape.is_stream(asks_much), wanted, "{shape:?}");
        }
    }
}
