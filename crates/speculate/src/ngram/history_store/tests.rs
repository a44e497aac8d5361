use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::answer_log;
use super::*;

const KEY: &str = "k";

fn open(folder: &Path, max_tokens: usize) -> HistoryStore {
    HistoryStore::open(folder, KEY, max_tokens).unwrap()
}

fn answers_of(store: &HistoryStore) -> Vec<Vec<u32>> {
    store.answers().map(<[u32]>::to_vec).collect()
}

fn file(folder: &Path, extension: &str) -> PathBuf {
    folder.join(format!("{KEY}.{extension}"))
}

/// The index in memory must be what a fresh one of the same answers would be.
fn assert_is_indexed(store: &HistoryStore) {
    let tokens: Vec<u32> =
        answers_of(store).into_iter().flat_map(|answer| answer.into_iter().chain([SEPARATOR])).collect();
    assert_eq!(store.index, SuffixIndex::new(&tokens));
}

#[test]
fn keeps_answers_between_processes() {
    let folder = tempfile::tempdir().unwrap();
    let answers = [vec![1, 2, 3], vec![4], vec![5, 6]];
    for answer in &answers {
        open(folder.path(), 100).append(answer).unwrap();
    }
    let store = open(folder.path(), 100);
    assert_eq!(answers_of(&store), answers);
    assert_is_indexed(&store);
    let summary = store.summary();
    assert_eq!((summary.n_answers, summary.n_tokens), (3, 6));
    let size = |extension| fs::metadata(file(folder.path(), extension)).unwrap().len();
    assert_eq!(summary.n_bytes, size("history") + size("index"));
    let (from, to) = summary.from_to.unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(from <= to && to <= now && now < to + 100);
}

#[test]
fn what_is_added_reaches_drafters_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 100);
    store.append(&[7, 8, SEPARATOR, 9]).unwrap();
    store.append(&[]).unwrap();
    assert_eq!(store.index().tokens(), [7, 8, 9, SEPARATOR]);
}

#[test]
fn the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 40);
    for i in 0..100 {
        store.append(&[i, i + 1, i + 2]).unwrap();
        assert!(store.index().tokens().len() <= 40);
        assert_eq!(store.answers().next_back().unwrap(), [i, i + 1, i + 2]);
    }
    assert_is_indexed(&store);
    let kept = answers_of(&store);
    assert!(kept.len() >= 7 && kept.last().unwrap() == &[99, 100, 101]);
    assert_eq!(answers_of(&open(folder.path(), 40)), kept);
    assert_eq!(answers_of(&open(folder.path(), 8)), [[99, 100, 101]], "a smaller bound holds at once");
    open(folder.path(), 8).append(&[1; 50]).unwrap();
    assert_eq!(answers_of(&open(folder.path(), 8)), [[1; 7]], "an answer alone may be too long");
}

#[test]
fn the_saved_order_is_used_and_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 100_000);
    let long: Vec<u32> = (0..3000).map(|i: u32| i.wrapping_mul(i) % 50).collect();
    store.append(&long).unwrap();
    store.append(&[1, 2, 3]).unwrap();
    assert_eq!(store.n_saved, 3001, "the order of the long answer is on disk");
    std::mem::forget(store);
    let store = open(folder.path(), 100_000);
    assert_eq!(store.n_saved, 3001);
    assert_is_indexed(&store);
    // An order of other answers does no harm.
    fs::write(
        file(folder.path(), "index"),
        saved_order::write(&SuffixIndex::new(&[1; 3001]), store.generation),
    )
    .unwrap();
    let store = open(folder.path(), 100_000);
    assert_eq!(store.summary().n_tokens, 3003);
    assert_is_indexed(&store);
}

#[test]
fn two_stores_of_one_folder_see_and_spare_each_others_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (open(folder.path(), 1000), open(folder.path(), 1000));
    one.append(&[1, 1]).unwrap();
    two.append(&[2, 2]).unwrap();
    one.append(&[3]).unwrap();
    assert_eq!(answers_of(&one), [vec![1, 1], vec![2, 2], vec![3]]);
    assert_is_indexed(&one);
    two.clear().unwrap();
    one.append(&[4]).unwrap();
    assert_eq!(answers_of(&one), [[4]], "what one forgets, the other does too");
    assert_is_indexed(&one);
    assert_eq!(answers_of(&open(folder.path(), 1000)), [[4]]);
}

#[test]
fn a_file_that_another_store_made_shorter_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut stale = open(folder.path(), 1000);
    stale.append(&[7, 8, 9]).unwrap();
    let mut other = open(folder.path(), 40);
    (0..30).for_each(|i| other.append(&[i, i + 1, i + 2]).unwrap());
    let mut wanted = answers_of(&other);
    stale.append(&[1]).unwrap();
    wanted.push(vec![1]);
    assert_eq!(answers_of(&stale), wanted);
    assert_eq!(answers_of(&open(folder.path(), 1000)), wanted);
    assert_is_indexed(&stale);
}

#[test]
fn threads_with_a_store_each_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = folder.path();
            scope.spawn(move || {
                let mut store = open(path, 100_000);
                (0..25).for_each(|i| store.append(&[thread, i]).unwrap());
            });
        }
    });
    let store = open(folder.path(), 100_000);
    let mut answers = answers_of(&store);
    answers.sort();
    let wanted: Vec<Vec<u32>> = (0..4).flat_map(|thread| (0..25).map(move |i| vec![thread, i])).collect();
    assert_eq!(answers, wanted);
    assert_is_indexed(&store);
}

#[test]
fn clear_leaves_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 100_000);
    store.append(&vec![77_777; 3000]).unwrap();
    store.clear().unwrap();
    assert_eq!(store.index().tokens(), []);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [file(folder.path(), "lock")]);
    assert_eq!(fs::metadata(&left[0]).unwrap().len(), 0);
    assert_eq!(answers_of(&open(folder.path(), 100)), [[0; 0]; 0]);
    store.append(&[1]).unwrap();
    assert_eq!(answers_of(&open(folder.path(), 100)), [[1]]);
}

#[test]
fn a_later_versions_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "history");
    let mut bytes = answer_log::header(crc32fast::hash(b"k"), 1).to_vec();
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    let error = HistoryStore::open(folder.path(), KEY, 100).unwrap_err().to_string();
    assert!(error.contains("has format version 9, this program reads 1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn the_answers_of_another_vocabulary_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 100).append(&[1, 2]).unwrap();
    let other = HistoryStore::open(folder.path(), "other", 100).unwrap();
    assert_eq!(answers_of(&other), [[0; 0]; 0]);
    assert_eq!(answers_of(&open(folder.path(), 100)), [[1, 2]]);
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(HistoryStore::open(&file.path().join("history"), KEY, 100).is_err());
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("history");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    open(&folder, 10_000).append(&vec![1; 3000]).unwrap();
    assert_eq!(mode(&folder), 0o700);
    for extension in ["history", "index", "lock"] {
        assert_eq!(mode(&file(&folder, extension)), 0o600, "{extension}");
    }
    fs::set_permissions(file(&folder, "history"), PermissionsExt::from_mode(0o644)).unwrap();
    open(&folder, 10_000);
    assert_eq!(mode(&file(&folder, "history")), 0o600);
}

/// Answers as a file, and where each record ends.
fn file_of(answers: &[Vec<u32>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = answer_log::header(crc32fast::hash(b"k"), 5).to_vec();
    let mut ends = Vec::new();
    for answer in answers {
        answer_log::put_record(&mut bytes, 1_000, answer);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn answers() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0u32..50, 1..20), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_answers(answers in answers(), cut in 0.0f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let (mut bytes, ends) = file_of(&answers);
        bytes.truncate((cut * (bytes.len() + 1) as f64) as usize);
        let n_whole = ends.iter().filter(|&&end| end <= bytes.len()).count();
        fs::write(file(folder.path(), "history"), &bytes).unwrap();
        let mut store = open(folder.path(), 10_000);
        prop_assert_eq!(answers_of(&store), &answers[..n_whole]);
        assert_is_indexed(&store);
        store.append(&[99]).unwrap();
        let again = answers_of(&open(folder.path(), 10_000));
        prop_assert_eq!(again.len(), n_whole + 1, "what comes after the cut can be read");
    }

    #[test]
    fn no_file_content_is_fatal(
        answers in answers(),
        changes in prop::collection::vec((0usize..600, any::<u8>()), 0..6),
        order in prop::collection::vec(any::<u8>(), 0..80),
        order_changes in prop::collection::vec((0usize..600, any::<u8>()), 0..6),
        has_order in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let change = |bytes: &mut Vec<u8>, changes: &[(usize, u8)]| {
            for &(at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        };
        let (mut bytes, _) = file_of(&answers);
        // Not the version: a later one is refused, and that is right.
        let changes: Vec<(usize, u8)> = changes.into_iter().filter(|(at, _)| !(8..12).contains(at)).collect();
        change(&mut bytes, &changes);
        fs::write(file(folder.path(), "history"), &bytes).unwrap();
        let tokens: Vec<u32> =
            answers.iter().flat_map(|answer| answer.iter().copied().chain([SEPARATOR])).collect();
        let mut order = if has_order { saved_order::write(&SuffixIndex::new(&tokens), 5) } else { order };
        change(&mut order, &order_changes);
        fs::write(file(folder.path(), "index"), &order).unwrap();
        let mut store = open(folder.path(), 10_000);
        assert_is_indexed(&store);
        store.append(&[1, 2]).unwrap();
        prop_assert_eq!(store.answers().next_back().unwrap(), [1, 2]);
        assert_is_indexed(&store);
    }

    #[test]
    fn any_positions_make_an_index(tokens in prop::collection::vec(0u32..5, 0..20), sorted in prop::collection::vec(0u32..25, 0..20), n_sorted in 0usize..25) {
        let index = SuffixIndex::with_order(tokens.clone(), sorted, n_sorted);
        prop_assert_eq!(index.tokens(), tokens);
        prop_assert_eq!(index.sorted().len(), index.tokens().len());
    }
}
