//! Generates the data of the CRM from a fixed seed: the same contacts, deals and months after every start, on every machine. All names
//! are invented, and all e-mail addresses are below `.example`, so nothing here belongs to a real person.

use std::collections::BTreeMap;

use crate::crm::{Contact, Deal, HistoryEntry, Revenue, Stage};

pub const CURRENCY: &str = "EUR";

const SEED: u64 = 2026;
const CONTACTS: usize = 320;
const COMPANIES: usize = 90;
const DEALS: usize = 260;
/// The last month with revenue; the first is `MONTHS - 1` earlier.
const LAST_MONTH: (u32, u32) = (2026, 10);
const MONTHS: u32 = 34;

const FIRST_NAMES: [&str; 32] = [
    "Amara", "Anders", "Beatriz", "Bruno", "Chiara", "Daniel", "Elif", "Emeka", "Fatima", "Florian", "Greta", "Hana",
    "Hugo", "Ingrid", "Ivan", "Jana", "Kofi", "Lars", "Leila", "Luca", "Maja", "Mateo", "Nadia", "Noah", "Olga",
    "Priya", "Rafael", "Saoirse", "Tomas", "Ulla", "Wei", "Yusuf",
];
const SURNAMES: [&str; 32] = [
    "Adeyemi",
    "Almeida",
    "Bauer",
    "Berg",
    "Costa",
    "Demir",
    "Dubois",
    "Ferrari",
    "Fischer",
    "Garcia",
    "Haddad",
    "Hansen",
    "Ito",
    "Jansen",
    "Kaya",
    "Keller",
    "Kowalska",
    "Lindqvist",
    "Marino",
    "Meyer",
    "Moreau",
    "Nguyen",
    "Novak",
    "Okafor",
    "Patel",
    "Petrov",
    "Rossi",
    "Santos",
    "Schneider",
    "Silva",
    "Virtanen",
    "Walsh",
];
const COMPANY_FIRST: [&str; 18] = [
    "Alder",
    "Bluewater",
    "Cobalt",
    "Delta",
    "Evergreen",
    "Falcon",
    "Granite",
    "Harbour",
    "Iris",
    "Juniper",
    "Kestrel",
    "Lumen",
    "Meridian",
    "Northwind",
    "Orchard",
    "Pinnacle",
    "Quarry",
    "Redwood",
];
const COMPANY_SECOND: [&str; 12] = [
    "Analytics",
    "Brewing",
    "Energy",
    "Foods",
    "Freight",
    "Instruments",
    "Labs",
    "Logistics",
    "Mobility",
    "Optics",
    "Robotics",
    "Textiles",
];
const TITLES: [&str; 10] = [
    "Account Manager",
    "Buyer",
    "Chief Operating Officer",
    "Customer Success Lead",
    "Head of Procurement",
    "IT Director",
    "Managing Director",
    "Office Manager",
    "Operations Manager",
    "Product Owner",
];
const CITIES: [&str; 12] = [
    "Antwerp",
    "Bologna",
    "Cork",
    "Dresden",
    "Gothenburg",
    "Krakow",
    "Lisbon",
    "Lyon",
    "Porto",
    "Rotterdam",
    "Tallinn",
    "Valencia",
];
const HISTORY_ENTRIES: [(&str, &str); 10] = [
    ("call", "Asked about delivery times for the next quarter"),
    ("call", "Discussed the renewal terms; wants them in writing"),
    ("email", "Sent the revised quote"),
    ("email", "Confirmed the number of seats"),
    ("meeting", "Demonstrated the new reporting module"),
    ("meeting", "Quarterly review: satisfied, interested in a second site"),
    ("support", "Reported a failed import; solved the same day"),
    ("support", "Asked for access for two new colleagues"),
    ("invoice", "Invoice paid"),
    ("invoice", "Invoice sent"),
];

/// Everything that is generated.
pub struct Data {
    pub contacts: Vec<Contact>,
    /// By contact id, newest first; every contact is in it.
    pub history: BTreeMap<String, Vec<HistoryEntry>>,
    pub deals: Vec<Deal>,
    /// Oldest month first.
    pub revenue: Vec<Revenue>,
}

/// Generates the data, which is the same each time.
pub fn data() -> Data {
    let mut random = SplitMix(SEED);
    let companies: Vec<String> = (0..COMPANIES).map(company).collect();
    let contacts: Vec<Contact> = (1..=CONTACTS).map(|n| contact(&mut random, n, &companies)).collect();
    let history = contacts.iter().map(|contact| (contact.id.clone(), history(&mut random))).collect();
    let deals = (0..DEALS).map(|_| deal(&mut random)).collect();
    let revenue = (0..MONTHS).map(|n| revenue(&mut random, n)).collect();
    Data { contacts, history, deals, revenue }
}

/// A different company for each number. 18 and 12 have common factors, so the second word also advances after each round.
fn company(n: usize) -> String {
    let second = n % COMPANY_SECOND.len() + n / COMPANY_FIRST.len();
    format!("{} {}", COMPANY_FIRST[n % COMPANY_FIRST.len()], COMPANY_SECOND[second % COMPANY_SECOND.len()])
}

fn contact(random: &mut SplitMix, n: usize, companies: &[String]) -> Contact {
    let (first, surname) = (random.pick(&FIRST_NAMES), random.pick(&SURNAMES));
    let company = random.pick(companies).clone();
    let domain = company.to_lowercase().replace(' ', "-");
    Contact {
        id: format!("c-{n:04}"),
        name: format!("{first} {surname}"),
        email: format!("{}.{}.{n}@{domain}.example", first.to_lowercase(), surname.to_lowercase()),
        company,
        title: (*random.pick(&TITLES)).to_owned(),
        city: (*random.pick(&CITIES)).to_owned(),
        customer_since: date(2017 + random.below(9), random),
    }
}

fn history(random: &mut SplitMix) -> Vec<HistoryEntry> {
    let mut entries: Vec<HistoryEntry> = (0..4 + random.below(40))
        .map(|_| {
            let (kind, summary) = random.pick(&HISTORY_ENTRIES);
            let day = date(2024 + random.below(3), random);
            let at = format!("{day}T{:02}:{:02}:00Z", 8 + random.below(10), random.below(60));
            HistoryEntry { at, kind: (*kind).to_owned(), summary: (*summary).to_owned() }
        })
        .collect();
    entries.sort_by(|a, b| b.at.cmp(&a.at));
    entries
}

fn deal(random: &mut SplitMix) -> Deal {
    let stage = *random.pick(&Stage::ALL);
    Deal { stage, amount: 500 * (2 + u64::from(random.below(240))) }
}

/// Revenue that rises slowly, with a dip in August, a peak in December, and some noise.
fn revenue(random: &mut SplitMix, n: u32) -> Revenue {
    let months = LAST_MONTH.0 * 12 + LAST_MONTH.1 - 1 - (MONTHS - 1) + n;
    let (year, month) = (months / 12, months % 12 + 1);
    let season = match month {
        8 => 80,
        12 => 125,
        _ => 100,
    };
    let amount = u64::from((180_000 + 4_000 * n + random.below(30_000)) * season / 100);
    Revenue { month: format!("{year}-{month:02}"), amount, invoices: 60 + n + random.below(25), currency: CURRENCY }
}

/// A day of that year, before November, so that no date is after the last month with revenue.
fn date(year: u32, random: &mut SplitMix) -> String {
    format!("{year}-{:02}-{:02}", 1 + random.below(10), 1 + random.below(28))
}

/// The pseudorandom generator SplitMix64 (Steele, Lea, Flood 2014): short, and the same numbers on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        let below = self.next() % u64::from(bound);
        u32::try_from(below).expect("a number below a u32 must fit into a u32")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let bound = u32::try_from(from.len()).expect("a list here must be short");
        &from[self.below(bound) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_the_same_at_every_start() {
        let (first, second) = (data(), data());
        assert_eq!(first.contacts, second.contacts);
        assert_eq!(first.history, second.history);
        assert_eq!(first.deals, second.deals);
        assert_eq!(first.revenue, second.revenue);
    }

    #[test]
    fn revenue_covers_each_month_once_up_to_the_last() {
        let revenue = data().revenue;
        let months: Vec<&str> = revenue.iter().map(|revenue| revenue.month.as_str()).collect();
        assert_eq!((months[0], months[11], months[33], months.len()), ("2024-01", "2024-12", "2026-10", 34));
        assert!(months.is_sorted());
    }

    #[test]
    fn no_two_companies_have_the_same_name() {
        let companies: std::collections::BTreeSet<String> = (0..COMPANIES).map(company).collect();
        assert_eq!(companies.len(), COMPANIES);
    }
}
