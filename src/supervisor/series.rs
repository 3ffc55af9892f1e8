//! Maps the numbers in records to names: those of series to labels, across all layouts so far, and those of lists of chosen
//! fields to the lists.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::metrics::line::Headers;
use crate::metrics::{CallLabels, Layout};

/// The names of series, one layout after the other.
#[derive(Debug, Default)]
pub(super) struct Series {
    names: Mutex<Names>,
    /// Lists of chosen fields. One that comes again is not added again.
    headers: Mutex<Vec<Arc<Headers>>>,
}

#[derive(Debug, Default)]
struct Names {
    all: Vec<CallLabels>,
    /// The beginning of each layout. A layout that comes again is not added again.
    begins: Vec<(Vec<CallLabels>, u32)>,
}

impl Series {
    /// Adds the labels of a layout. Gives the number to be added to those of its series.
    pub(super) fn register(&self, layout: &Layout) -> u32 {
        let mut names = self.names.lock();
        if let Some((_, begin)) = names.begins.iter().find(|(known, _)| *known == layout.calls) {
            return *begin;
        }
        let begin = u32::try_from(names.all.len()).unwrap_or(u32::MAX);
        names.all.extend_from_slice(&layout.calls);
        names.begins.push((layout.calls.clone(), begin));
        begin
    }

    /// Looks at the labels of a series; at empty ones where it is not known.
    pub(super) fn with<T>(&self, series: u32, look: impl FnOnce(&CallLabels) -> T) -> T {
        let names = self.names.lock();
        look(names.all.get(series as usize).unwrap_or(&CallLabels::default()))
    }

    /// Adds a list of chosen fields. Gives its number.
    pub(super) fn register_headers(&self, list: &Headers) -> u32 {
        let mut all = self.headers.lock();
        let known = all.iter().position(|known| **known == *list);
        let number = known.unwrap_or_else(|| {
            all.push(Arc::new(list.clone()));
            all.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// A list of chosen fields by its number; an empty one where it is not known.
    pub(super) fn headers(&self, number: u32) -> Arc<Headers> {
        self.headers.lock().get(number as usize).map(Arc::clone).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_learnt_once() {
        let layout = |routes: &[&str]| {
            let call = |route: &&str| CallLabels { route: (*route).to_owned(), ..CallLabels::default() };
            Layout::new(vec!["c".to_owned()], routes.iter().map(call).collect())
        };
        let series = Series::default();
        let begins = [&["a"][..], &["a", "b"], &["a"], &["c"]].map(|routes| series.register(&layout(routes)));
        assert_eq!(begins, [0, 2, 0, 5]);
        let route = |number| series.with(number, |labels| labels.route.clone());
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 99].map(route), ["a", "", "a", "b", "", "c", "", ""]);
    }

    #[test]
    fn a_list_of_fields_is_learnt_once() {
        let list = |name: &str| Headers { request: vec![name.to_owned()], response: Vec::new() };
        let series = Series::default();
        let numbers = ["x-a", "x-b", "x-a"].map(|name| series.register_headers(&list(name)));
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!(*series.headers(1), list("x-b"));
        assert_eq!(*series.headers(9), Headers::default());
    }
}
