use super::*;

impl Key for &'static str {
    /// What is before the slash.
    fn namespace(&self) -> &str {
        self.split('/').next().unwrap_or_default()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn the_earliest_time_wins_and_keys_are_given_out_in_the_order_of_their_times() {
    let queue = Arc::new(Queue::default());
    let start = Instant::now();
    queue.add_at("late", start + seconds(3), Lane::Others);
    queue.add_at("moved", start + seconds(9), Lane::Others);
    queue.add_at("moved", start + seconds(2), Lane::Others);
    queue.add_at("moved", start + seconds(5), Lane::Others);
    queue.add("now");
    let mut given = Vec::new();
    for _ in 0..3 {
        let item = queue.next().await;
        given.push((item.key, start.elapsed().as_secs()));
    }
    assert_eq!(given, [("now", 0), ("moved", 2), ("late", 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_during_its_work_is_given_out_again_afterwards() {
    let queue = Arc::new(Queue::default());
    queue.add("a");
    let first = queue.next().await;
    queue.add("a");
    assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "not while it is worked on");
    drop(first);
    assert_eq!(queue.next().await.key, "a");
    assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "once");
}

/// All keys that are due, taken and kept.
async fn take(queue: &Arc<Queue<&'static str>>) -> Vec<WorkItem<&'static str>> {
    let mut items = Vec::new();
    while let Ok(item) = tokio::time::timeout(Duration::from_millis(1), queue.next()).await {
        items.push(item);
    }
    items
}

fn keys(items: &[WorkItem<&'static str>]) -> Vec<&'static str> {
    items.iter().map(|item| item.key).collect()
}

/// A key that lives as long as the test.
fn key(namespace: &str, name: usize) -> &'static str {
    Box::leak(format!("{namespace}/{name}").into_boxed_str())
}

/// Adds this many keys in each of these namespaces.
fn add(queue: &Arc<Queue<&'static str>>, namespaces: usize, keys: usize, lane: Lane) {
    for namespace in 0..namespaces {
        for name in 0..keys {
            queue.add_at(key(&format!("noisy-{namespace}"), name), Instant::now(), lane);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_work_hangs_holds_a_share_and_delays_no_other_and_no_removal() {
    let queue = Arc::new(Queue::default());
    add(&queue, 1, 10, Lane::Others);
    let mut hanging = take(&queue).await;
    assert_eq!(hanging.len(), 8);
    queue.add("quiet/a");
    queue.add_at("noisy-0/9", Instant::now(), Lane::Removals);
    let more = take(&queue).await;
    assert_eq!(keys(&more), ["noisy-0/9", "quiet/a"], "its own removal does not wait for it either");
    drop(hanging.remove(0));
    assert_eq!(keys(&take(&queue).await), ["noisy-0/8"]);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_in_any_number_of_namespaces_delays_others_for_a_second_once_and_never_again() {
    for lane in LANES {
        let queue = Arc::new(Queue::default());
        add(&queue, 40, 100, lane);
        let hanging = take(&queue).await;
        assert_eq!(hanging.len(), 64);
        queue.add_at("quiet/a", Instant::now(), lane);
        let start = Instant::now();
        let mut more = Vec::new();
        while more.last().is_none_or(|item: &WorkItem<&'static str>| item.key != "quiet/a") {
            more.push(queue.next().await);
        }
        assert!(start.elapsed() <= lane::HANGS, "{lane:?}: {:?}", start.elapsed());
        more.extend(take(&queue).await);
        tokio::time::advance(seconds(5)).await;
        more.extend(take(&queue).await);
        assert!(hanging.len() + more.len() <= 512 + 64 + 1, "{lane:?}: what hangs has a bound, too");
        // The calls time out, and the next ones hang in their place.
        drop((hanging, more));
        let hanging = take(&queue).await;
        assert_eq!(hanging.len(), 512, "{lane:?}");
        for quiet in ["calm/a", "calm/b"] {
            queue.add_at(quiet, Instant::now(), lane);
            assert_eq!(keys(&take(&queue).await), [quiet], "{lane:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn among_namespaces_that_hang_each_gets_its_turn() {
    let queue = Arc::new(Queue::default());
    add(&queue, 40, 100, Lane::Removals);
    let mut hanging = take(&queue).await;
    tokio::time::advance(seconds(2)).await;
    hanging.extend(take(&queue).await);
    assert_eq!(hanging.len(), 512);
    queue.add_at("late/a", Instant::now(), Lane::Removals);
    let late = take(&queue).await;
    tokio::time::advance(seconds(2)).await;
    drop(late);
    queue.add_at("late/b", Instant::now(), Lane::Removals);
    hanging.remove(0);
    assert_eq!(keys(&take(&queue).await), ["late/b"], "it hung as well, and has nothing else that is worked on");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_in_which_nothing_hangs_any_more_is_counted_as_before() {
    let queue = Arc::new(Queue::default());
    add(&queue, 1, 100, Lane::Others);
    let hanging = take(&queue).await;
    tokio::time::advance(seconds(2)).await;
    let more = take(&queue).await;
    assert_eq!((hanging.len(), more.len()), (8, 24));
    drop((hanging, more));
    tokio::time::advance(seconds(61)).await;
    drop(take(&queue).await);
    assert_eq!(take(&queue).await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlives_its_work_keeps_its_room() {
    let queue = Arc::new(Queue::default());
    add(&queue, 1, 10, Lane::Others);
    let items = take(&queue).await;
    let rooms: Vec<_> = items.iter().map(WorkItem::room).collect();
    drop(items);
    assert_eq!(take(&queue).await.len(), 0);
    drop(rooms);
    assert_eq!(take(&queue).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removal_preempts_the_work_on_its_key_and_nothing_else_does() {
    let queue = Arc::new(Queue::default());
    queue.add("a/a");
    let item = queue.next().await;
    queue.add("a/a");
    assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_err());
    queue.add_at("a/a", Instant::now(), Lane::Removals);
    item.can_be_given_up(false);
    assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_err());
    queue.add_at("a/a", Instant::now(), Lane::Removals);
    item.can_be_given_up(true);
    assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_ok());
    drop(item);
    let item = queue.next().await;
    assert_eq!((item.key, item.lane), ("a/a", Lane::Removals));
    assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_overdue_only_since_there_was_room_for_it() {
    for namespaces in [1, 20] {
        let queue = Arc::new(Queue::default());
        add(&queue, namespaces, 1500, Lane::Others);
        let mut items = std::collections::VecDeque::from(take(&queue).await);
        for _ in 0..400 {
            assert_eq!(queue.overdue(), Duration::ZERO, "there is no room");
            tokio::time::advance(Duration::from_millis(100)).await;
            let batch = items.len() / 4;
            items.drain(..batch);
            assert_eq!(queue.overdue(), Duration::ZERO, "there is room from now on");
            items.extend(take(&queue).await);
        }
        drop(items);
        let before = queue.overdue();
        tokio::time::advance(seconds(2)).await;
        assert_eq!(queue.overdue(), before + seconds(2), "nothing is given out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_no_longer_remembered_to_be_slow_is_found_at_once() {
    let queue = Arc::new(Queue::default());
    for namespace in 0..1000 {
        queue.add(key(&format!("slow-{namespace}"), 0));
        let hanging = queue.next().await;
        tokio::time::advance(seconds(1)).await;
        drop(hanging);
    }
    queue.add("hanging/a");
    let hanging = queue.next().await;
    tokio::time::advance(seconds(61)).await;
    let at = Instant::now() + seconds(1);
    for namespace in 0..1000 {
        queue.add_at(key(&format!("slow-{namespace}"), 1), at, Lane::Others);
    }
    // The first look finds what hangs, and forgets the others.
    let first = tokio::time::timeout(seconds(2), queue.next()).await;
    drop(first.expect("one must be given out at its time"));
    let mut given = 1;
    while let Ok(item) = tokio::time::timeout(Duration::from_millis(1), queue.next()).await {
        drop(item);
        given += 1;
    }
    assert_eq!(given, 1000);
    drop(hanging);
}
