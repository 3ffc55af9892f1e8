//! Routes with one host and one path.

use rustc_hash::FxHashMap;

use super::rule::{Condition, Headers, NONE, Rule, Search, compare};

/// Routes with one host and one path; only their further conditions differ.
#[derive(Debug)]
pub(super) struct Candidates {
    /// The first route without further conditions, or `NONE`. Routes after it can never win.
    plain: u32,
    /// Routes that ask for a value of a header field, each under one of these conditions: under the name, the values in
    /// order, and for each its routes.
    by_header: FxHashMap<Box<[u8]>, Box<[Valued]>>,
    /// The others, which are asked one by one.
    others: Box<[u32]>,
}

#[derive(Debug)]
struct Valued {
    value: Box<[u8]>,
    indices: Vec<u32>,
}

impl Candidates {
    pub(super) fn new(indices: &[u32], rules: &[Rule]) -> Self {
        let headers = |index: u32| &rules[index as usize].headers;
        let plain = indices.iter().copied().find(|&index| rules[index as usize].is_plain()).unwrap_or(NONE);
        let before = || indices.iter().copied().filter(|&index| index < plain);
        let conditional = || before().filter(|&index| !headers(index).is_empty());
        let others = before().filter(|&index| headers(index).is_empty());

        // Each stands under its rarest condition, so that few stand under each.
        let mut uses: FxHashMap<&Condition, u32> = FxHashMap::default();
        for condition in conditional().flat_map(headers) {
            *uses.entry(condition).or_default() += 1;
        }
        let mut by_header: FxHashMap<Box<[u8]>, Vec<Valued>> = FxHashMap::default();
        for index in conditional() {
            let (name, value) = headers(index)
                .iter()
                .min_by_key(|condition| uses[condition])
                .expect("these have a condition");
            let values = by_header.entry(name.clone()).or_default();
            match values.binary_search_by(|valued| valued.value.cmp(value)) {
                Ok(place) => values[place].indices.push(index),
                Err(place) => values.insert(place, Valued { value: value.clone(), indices: vec![index] }),
            }
        }
        let by_header = by_header.into_iter().map(|(name, values)| (name, values.into())).collect();
        Self { plain, by_header, others: others.collect() }
    }

    pub(super) fn search(&self, search: &mut Search<'_, impl Headers>) {
        search.best = search.best.min(self.plain);
        let headers = search.question.headers;
        if self.by_header.len() <= headers.count() {
            for (name, values) in &self.by_header {
                search_values(values, name, search);
            }
        } else {
            for name in headers.names() {
                if let Some(values) = self.by_header.get(name) {
                    search_values(values, name, search);
                }
            }
        }
        for &index in &self.others {
            if search.best <= index {
                return;
            }
            if search.meets(index, false) {
                search.best = index;
                return;
            }
        }
    }
}

fn search_values(values: &[Valued], name: &[u8], search: &mut Search<'_, impl Headers>) {
    let headers = search.question.headers;
    let mut all = headers.values(name);
    let place = match (all.next(), all.next()) {
        (None, _) => return,
        (Some(only), None) => values.binary_search_by(|valued| (*valued.value).cmp(only)),
        _ => values.binary_search_by(|valued| compare(headers.values(name), &valued.value).reverse()),
    };
    let Ok(place) = place else { return };
    for &index in &values[place].indices {
        if search.best <= index {
            return;
        }
        // If there is but one condition, it is the one that led here.
        if search.meets(index, true) {
            search.best = index;
            return;
        }
    }
}
