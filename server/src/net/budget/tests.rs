use futures::{FutureExt, future::BoxFuture};
use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_identity_holds_no_more_than_its_part_and_all_no_more_than_the_whole() {
    let budget = Budget::new(3, 4);
    let [one, other] = ["one", "other"].map(|name| budget.share(Fingerprint::of(&[name])));
    let (mut one, mut other, mut more) = (one, other, budget.share(Fingerprint::of(&["one"])));
    assert_eq!((one.grow(2), more.grow(1)), (Ok(()), Ok(())));
    assert_eq!(one.grow(3), Err(OverBudget::OfIdentity));
    assert_eq!((other.grow(1), other.grow(2)), (Ok(()), Err(OverBudget::OfAll)));
    drop(one);
    assert_eq!((other.grow(2), more.grow(2)), (Ok(()), Ok(())));
    drop((other, more));
    let held = budget.shared.held.lock();
    assert_eq!((held.all, held.by_identity.len()), (0, 0));
}

#[tokio::test]
async fn a_share_waits_for_what_others_give_back_and_not_for_longer_than_it_may() {
    let budget = Budget::new(4, 6);
    let [one, other] = ["one", "other"].map(|name| Fingerprint::of(&[name]));
    let mut first = budget.share(one);
    assert_eq!(first.grow(4), Ok(()));
    let mut second = budget.share(one);
    assert_eq!(second.grow_within(3, Duration::ZERO).await, Err(OverBudget::OfIdentity));
    assert_eq!(budget.share(other).grow_within(3, Duration::ZERO).await, Err(OverBudget::OfAll));
    let (grown, ()) = tokio::join!(second.grow_within(3, PATIENCE), async { first.settle(1) });
    assert_eq!((grown, budget.held()), (Ok(()), 4));
}

#[tokio::test]
async fn an_identity_is_crowded_by_what_waits_for_its_peers_and_by_nothing_else() {
    let budget = Budget::new(4, 8);
    let [one, other] = ["one", "other"].map(|name| Fingerprint::of(&[name]));
    let mut share = budget.share(one);
    assert_eq!(share.grow(4), Ok(()));
    assert_eq!(budget.until_uncrowded(one, Duration::ZERO).await, Ok(()));
    share.settle(3);
    assert_eq!(budget.until_uncrowded(one, Duration::ZERO).await, Err(OverBudget::OfIdentity));
    assert_eq!(budget.until_uncrowded(other, Duration::ZERO).await, Ok(()));
    let (uncrowded, ()) = tokio::join!(budget.until_uncrowded(one, PATIENCE), async { drop(share) });
    assert_eq!((uncrowded, budget.shared.settled.load(Relaxed)), (Ok(()), 0));
}

/// A share that takes its turn.
fn waiting(budget: &Budget, name: &str, amount: usize) -> BoxFuture<'static, Share> {
    let mut share = budget.share(Fingerprint::of(&[name]));
    let mut waiting = async move {
        share.grow_in_turn(amount).await;
        share
    }
    .boxed();
    assert!((&mut waiting).now_or_never().is_none(), "there was room");
    waiting
}

fn granted(waiting: &mut BoxFuture<'static, Share>) -> Option<Share> {
    waiting.now_or_never()
}

fn held(budget: &Budget, name: &str, amount: usize) -> Share {
    let mut share = budget.share(Fingerprint::of(&[name]));
    assert_eq!(share.grow(amount), Ok(()));
    share
}

#[test]
fn a_large_share_is_not_passed_by_small_ones_of_its_identity() {
    let budget = Budget::new(4, 8);
    let [first, second] = [(); 2].map(|()| held(&budget, "one", 2));
    let [mut large, mut small] = [4, 1].map(|amount| waiting(&budget, "one", amount));
    drop(first);
    assert!(granted(&mut small).is_none(), "it began to wait later");
    let mut other = budget.share(Fingerprint::of(&["other"]));
    assert_eq!(other.grow_in_turn(4).now_or_never(), Some(()), "others pass");
    drop(second);
    let large = granted(&mut large).unwrap();
    assert!(granted(&mut small).is_none());
    drop((large, other));
    assert_eq!((granted(&mut small).unwrap().amount, budget.held()), (1, 1));
}

#[test]
fn identities_that_wait_for_the_same_room_take_turns() {
    let budget = Budget::new(4, 4);
    let mut first = held(&budget, "first", 4);
    let [mut large, mut small] = [3, 1].map(|amount| waiting(&budget, "one", amount));
    let mut other = waiting(&budget, "other", 1);
    first.shrink(2);
    assert!(granted(&mut other).is_none(), "such as this one could keep the large one waiting for ever");
    first.shrink(0);
    let (large, other) = (granted(&mut large).unwrap(), granted(&mut other).unwrap());
    assert!(granted(&mut small).is_none(), "one of each identity at a time");
    drop((large, other));
    assert_eq!((granted(&mut small).unwrap().amount, budget.held()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_once_its_share_gave_up_or_is_gone() {
    let budget = Budget::new(4, 4);
    let mut first = held(&budget, "one", 3);
    let mut hasty = budget.share(Fingerprint::of(&["one"]));
    let mut rest = Vec::new();
    let (given_up, ()) = tokio::join!(hasty.grow_within(4, Duration::from_secs(1)), async {
        let gone = waiting(&budget, "one", 2);
        rest.push(waiting(&budget, "one", 1));
        drop(gone);
        assert!(granted(&mut rest[0]).is_none(), "one is still before it");
    });
    assert_eq!((given_up, hasty.is_empty()), (Err(OverBudget::OfIdentity), true));
    let last = granted(&mut rest[0]).unwrap();
    // One that is gone before it heard what it was granted.
    let gone = waiting(&budget, "one", 1);
    first.shrink(2);
    assert_eq!(budget.held(), 4);
    drop((gone, first, last));
    let held = budget.shared.held.lock();
    assert_eq!((held.all, held.by_identity.len(), held.queue.is_empty()), (0, 0, true));
}

#[test]
fn a_share_is_waited_for_only_by_those_that_it_keeps_waiting() {
    let budget = Budget::new(4, 6);
    let (one, other) = (held(&budget, "one", 4), held(&budget, "other", 1));
    assert_eq!((one.is_waited_for(), other.is_waited_for()), (false, false));
    let _own = waiting(&budget, "one", 1);
    assert_eq!((one.is_waited_for(), other.is_waited_for()), (true, false));
    let _another = waiting(&budget, "another", 2);
    assert_eq!((one.is_waited_for(), other.is_waited_for()), (true, true));
}

proptest! {
    /// Each step is one that asks (whose, and how much), and one that gives back or stops waiting, if there are so many.
    #[test]
    fn whoever_asks_and_leaves_nothing_is_lost_and_nobody_waits_for_ever(
        steps in proptest::collection::vec((0..3_usize, 1..5_usize, 0..8_usize), 1..60),
    ) {
        let budget = Budget::new(5, 9);
        let mut shares: Vec<(usize, BoxFuture<'static, Share>, Option<Share>)> = Vec::new();
        let hear = |shares: &mut Vec<(usize, BoxFuture<'static, Share>, Option<Share>)>| {
            for (_, waiting, share) in shares {
                *share = share.take().or_else(|| granted(waiting));
            }
        };
        for (whose, amount, leaves) in steps {
            let mut share = budget.share(Fingerprint::of(&[&whose.to_string()]));
            let waiting = async move {
                share.grow_in_turn(amount).await;
                share
            };
            shares.push((whose, waiting.boxed(), None));
            hear(&mut shares);
            if leaves < shares.len() {
                drop(shares.remove(leaves));
                hear(&mut shares);
            }
            let own = |whose| shares.iter().filter(move |share| share.0 == whose);
            let sums = [0, 1, 2].map(|whose| own(whose).filter_map(|share| share.2.as_ref()).map(|share| share.amount).sum());
            prop_assert_eq!(sums.iter().sum::<usize>(), budget.held());
            prop_assert!(budget.held() <= 9 && sums.iter().all(|sum| *sum <= 5));
            for whose in 0..3 {
                prop_assert!(own(whose).map(|share| share.2.is_none()).is_sorted(), "one passed an earlier one");
            }
        }
        // Once all that was granted is given back, somebody is next.
        while !shares.is_empty() {
            shares.retain(|share| share.2.is_none());
            hear(&mut shares);
            prop_assert!(shares.is_empty() || shares.iter().any(|share| share.2.is_some()));
        }
        prop_assert_eq!(budget.held(), 0);
    }
}
