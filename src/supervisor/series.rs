//! Maps the numbers of series in records to their labels, across all layouts so far.

use parking_lot::Mutex;

use crate::metrics::{CallLabels, Layout};

/// The names of series, one layout after the other.
#[derive(Debug, Default)]
pub(super) struct Series(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    all: Vec<CallLabels>,
    /// The beginning of each layout. A layout that comes again is not added again.
    begins: Vec<(Vec<CallLabels>, u32)>,
}

impl Series {
    /// Adds the labels of a layout. Gives the number to be added to those of its series.
    pub(super) fn register(&self, layout: &Layout) -> u32 {
        let mut names = self.0.lock();
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
        let names = self.0.lock();
        look(names.all.get(series as usize).unwrap_or(&CallLabels::default()))
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
}
