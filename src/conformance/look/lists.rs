//! Windows and pages: their width, size and order, and whether they are complete.

use std::collections::HashSet;

use chrono::TimeDelta;

use super::asking::{OFFSETS, SIZES};
use super::{Looker, Row, total, window};
use crate::conformance::seen::{Order, Sample};
use crate::model::{Paging, Window};
use crate::vdab::ApiError;
use crate::vdab::probe::Sight;

/// Widths of windows and sizes of pages to fall back to, in hours and items.
const WIDTHS: &[i64] = &[48, 24, 12, 6, 1];
const PAGES: &[u64] = &[1_000, 500, 200, 100, 50, 20, 10];

impl Looker<'_> {
    /// The widest window that is accepted, moved back to a time with CVs.
    pub(super) async fn width(&mut self) -> Result<bool, ApiError> {
        let configured = TimeDelta::from_std(self.source.sync.window).unwrap_or(TimeDelta::days(5));
        let narrower = WIDTHS.iter().map(|hours| TimeDelta::hours(*hours));
        let narrower = narrower.filter(|width| *width < configured);
        let mut last = String::new();
        for width in std::iter::once(configured).chain(narrower) {
            let sight = self.page(width, 10).await?;
            last = format!("status {} ({})", sight.status, self.said(&sight));
            let Some(mut rows) = self.rows(&sight) else {
                continue;
            };
            self.seen.width = Some(width);
            let end = self.tot;
            for steps in [1, 2, 4, 8, 16, 32] {
                if !rows.is_empty() {
                    break;
                }
                self.tot = end - width * steps;
                let sight = self.page(width, 10).await?;
                rows = self.rows(&sight).unwrap_or_default();
            }
            return Ok(true);
        }
        self.seen.refused = Some(last);
        Ok(false)
    }

    /// The first page of the last `width`.
    async fn page(&mut self, width: TimeDelta, size: u64) -> Result<Sight, ApiError> {
        let window = window(self.tot - width, self.tot)?;
        self.bulk(window, Some(self.first), Some(size)).await
    }

    fn widest(&self) -> TimeDelta {
        self.seen.width.unwrap_or(TimeDelta::hours(1))
    }

    /// Whether `aantal` has an effect, under any name.
    pub(super) async fn size(&mut self) -> Result<(), ApiError> {
        let rows = async |looker: &mut Self| {
            let sight = looker.page(looker.widest(), 2).await?;
            Ok::<_, ApiError>(looker.rows(&sight).map_or(0, |rows| rows.len()))
        };
        match rows(self).await? {
            0 | 1 => return Ok(()),
            2 => {
                self.seen.heeds_size = Some(true);
                return Ok(());
            }
            _ => {}
        }
        let before = self.seen.dialect.names.clone();
        for name in SIZES {
            self.seen.dialect.names.set("aantal", name);
            if self.seen.dialect.names.clash().is_none() && rows(self).await? == 2 {
                self.seen.heeds_size = Some(true);
                return Ok(());
            }
        }
        self.seen.dialect.names = before;
        self.seen.heeds_size = Some(false);
        Ok(())
    }

    /// A page of the largest accepted size.
    pub(super) async fn sample(&mut self) -> Result<Vec<Row>, ApiError> {
        let configured = u64::from(self.source.sync.page_size);
        let smaller = PAGES.iter().copied().filter(|size| *size < configured);
        for size in std::iter::once(configured).chain(smaller) {
            let sight = self.page(self.widest(), size).await?;
            let Some(rows) = self.rows(&sight) else {
                continue;
            };
            self.seen.page_size = Some(size);
            self.learn_fields(&rows);
            let ids: Vec<_> = rows.iter().map(|row| self.id(row)).collect();
            let mut once = HashSet::new();
            let mut sample = Sample {
                items: count(&rows),
                total: total(&sight),
                ..Sample::default()
            };
            for (row, id) in rows.iter().zip(&ids) {
                sample.fields.extend(row.keys().cloned());
                *sample.words.entry(self.word(row)).or_default() += 1;
                match id {
                    None => sample.garbage += 1,
                    Some(id) => sample.duplicates += u64::from(!once.insert(*id)),
                }
            }
            self.seen.sample = Some(sample);
            return Ok(rows);
        }
        Ok(Vec::new())
    }

    /// How `vanaf` counts, under any name.
    pub(super) async fn paging(&mut self, ids: &[Option<usize>]) -> Result<(), ApiError> {
        if ids.len() < 6 || self.seen.heeds_size != Some(true) {
            return Ok(());
        }
        let pair = |at: usize| ids[at..at + 2].to_vec();
        let before = self.seen.dialect.names.clone();
        let told = before.of("vanaf").to_owned();
        let others = OFFSETS.iter().copied().filter(|name| *name != told);
        for name in std::iter::once(&*told).chain(others) {
            self.seen.dialect.names.set("vanaf", name);
            if self.seen.dialect.names.clash().is_some() {
                continue;
            }
            let at_2 = self.pair_at(2).await?;
            if at_2.len() < 2 || at_2 == pair(0) {
                continue;
            }
            let at_1 = self.pair_at(1).await?;
            let found = [
                (Paging::OffsetFrom0, 1, 2),
                (Paging::OffsetFrom1, 0, 1),
                (Paging::PageFrom0, 2, 4),
                (Paging::PageFrom1, 0, 2),
            ]
            .into_iter()
            .find(|(_, one, two)| at_1 == pair(*one) && at_2 == pair(*two));
            self.seen.heeds_offset = Some(true);
            if let Some((paging, ..)) = found {
                self.seen.paging = Some(paging);
                self.seen.dialect.paging = paging;
            } else {
                self.seen.dialect.names = before;
            }
            return Ok(());
        }
        self.seen.dialect.names = before;
        self.seen.heeds_offset = Some(false);
        Ok(())
    }

    /// The two ids that are answered for this number.
    async fn pair_at(&mut self, vanaf: u64) -> Result<Vec<Option<usize>>, ApiError> {
        let window = window(self.tot - self.widest(), self.tot)?;
        let sight = self.bulk(window, Some(vanaf), Some(2)).await?;
        let rows = self.rows(&sight).unwrap_or_default();
        Ok(rows.iter().map(|row| self.id(row)).collect())
    }

    /// Whether more CVs follow a page that was not full.
    pub(super) async fn capped(&mut self, ids: &[Option<usize>]) -> Result<(), ApiError> {
        let size = self.seen.page_size.unwrap_or(0);
        let got = ids.len() as u64;
        let is_short = (1..size).contains(&got) && self.seen.heeds_size == Some(true);
        let Some(paging) = self.seen.paging.filter(|_| is_short) else {
            return Ok(());
        };
        let window = window(self.tot - self.widest(), self.tot)?;
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let next = paging.number(got, size);
        let sight = self.bulk(window, Some(next), Some(size.into())).await?;
        let rows = self.rows(&sight).unwrap_or_default();
        let is_new = |row: &Row| !ids.contains(&self.id(row));
        self.seen.page_capped = rows.iter().any(is_new).then_some(got);
        Ok(())
    }

    /// Whether a window contains what its halves contain, and in which order.
    pub(super) async fn halves(&mut self) -> Result<(), ApiError> {
        let widest = self.widest();
        let narrower = WIDTHS.iter().map(|hours| TimeDelta::hours(*hours));
        let narrower = narrower.filter(|width| *width < widest);
        for width in std::iter::once(widest).chain(narrower) {
            let whole = window(self.tot - width, self.tot)?;
            let Some((older, newer)) = whole.halves() else {
                return Ok(());
            };
            let (Some(whole), Some(older), Some(newer)) = (
                self.counted(whole).await?,
                self.counted(older).await?,
                self.counted(newer).await?,
            ) else {
                return Ok(());
            };
            // Both halves may contain a change in the middle, and CVs leave a window while it is counted.
            let slack = 2 + whole.0 / 100;
            if older.0 + newer.0 <= whole.0 + slack {
                // A cut window shows only one of its ends.
                self.seen.order = order(&whole.1, &older.1, &newer.1);
                self.seen.width = Some(width);
                return Ok(());
            }
            self.seen.cuts_windows = true;
        }
        Ok(())
    }

    /// The number of CVs in a window, and the ids of its first page; `None` if unknown.
    async fn counted(
        &mut self,
        window: Window,
    ) -> Result<Option<(u64, Vec<Option<usize>>)>, ApiError> {
        let size = self.seen.page_size.unwrap_or(10);
        let sight = self.bulk(window, Some(self.first), Some(size)).await?;
        let Some(rows) = self.rows(&sight) else {
            return Ok(None);
        };
        let full = self.seen.page_capped.unwrap_or(size);
        let count = match total(&sight) {
            Some((_, total)) => Some(total),
            None => Some(count(&rows)).filter(|count| *count < full),
        };
        let ids = rows.iter().map(|row| self.id(row)).collect();
        Ok(count.map(|count| (count, ids)))
    }

    /// The responses beyond the limits, and without a size.
    pub(super) async fn limits(&mut self) -> Result<(), ApiError> {
        self.seen.six_days = Some(self.page(TimeDelta::days(6), 1).await?.status);
        let window = window(self.tot - self.widest(), self.tot)?;
        let sight = self.bulk(window, Some(self.first), None).await?;
        let more = self.seen.sample.as_ref().map_or(0, |sample| {
            sample
                .items
                .max(sample.total.as_ref().map_or(0, |(_, total)| *total))
        });
        self.seen.default_page = self
            .rows(&sight)
            .map(|rows| (count(&rows), more > count(&rows)));
        Ok(())
    }
}

fn count(rows: &[Row]) -> u64 {
    rows.len() as u64
}

fn order(
    whole: &[Option<usize>],
    older: &[Option<usize>],
    newer: &[Option<usize>],
) -> Option<Order> {
    let (older, newer): (HashSet<_>, HashSet<_>) = (older.iter().collect(), newer.iter().collect());
    // An id in both halves shows no order: some sources list a CV for each of its changes.
    let is_newer: Vec<_> = whole
        .iter()
        .filter(|id| older.contains(id) != newer.contains(id))
        .map(|id| newer.contains(id))
        .collect();
    if older.is_empty() || newer.is_empty() || is_newer.is_empty() {
        return None;
    }
    Some(match is_newer[0] {
        false if is_newer.is_sorted() => Order::OldestFirst,
        true if is_newer.iter().rev().is_sorted() => Order::NewestFirst,
        _ => Order::Neither,
    })
}
