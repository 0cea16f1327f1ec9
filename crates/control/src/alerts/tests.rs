//! Two looks at a mirror and what is told of them, as a table; and what holds for any two looks.

use super::*;
use serde_json::json;

/// A look: members as `name:state`, and the percent of a resync.
fn look(members: &str, percent: Option<u64>) -> StackStatus {
    let members: Vec<_> = members
        .split_whitespace()
        .enumerate()
        .map(|(number, text)| {
            let (name, state) = text.split_once(':').unwrap();
            json!({ "name": name, "slot": null, "number": number, "state": state, "failure": null,
                "corrected_reads": 0, "write_mostly": false })
        })
        .collect();
    let in_sync = members.iter().filter(|member| member["state"] == "in_sync").count();
    let sync = match percent {
        None => json!({ "action": "idle" }),
        Some(percent) => {
            json!({ "action": "resync", "done_bytes": percent, "total_bytes": 100, "written_bytes": 0,
            "bytes_per_second": 1, "seconds_left": null })
        }
    };
    let array = json!({ "name": "data", "uuid": "u", "level": "raid1", "metadata": "1.2", "bytes": 1, "events": 1,
        "state": "clean", "broken_by": null, "slots": 2, "in_sync": in_sync, "sync": sync, "members": members,
        "export": { "reads": 0, "read_bytes": 0, "writes": 0, "written_bytes": 0, "flushes": 0, "trims": 0, "errors": 0 } });
    serde_json::from_value(
        json!({ "api_version": 1, "name": "s", "program_version": "", "pid": 1, "started_s": 0,
        "driver": "", "read_only": false, "snapshot": null, "arrays": [array], "servers": [] }),
    )
    .unwrap()
}

fn told(before: Before<'_>, now: Option<&StackStatus>) -> String {
    let rules = Rules { spares: 0, ..Rules::default() };
    let alerts = alerts(before, now, &rules).into_iter();
    let text = alerts.map(|alert| match alert.member {
        Some(member) => format!("{} {member}", alert.kind),
        None => alert.kind.to_string(),
    });
    text.collect::<Vec<_>>().join(", ")
}

/// A look at a cache and a volume, of which these have failed.
fn look_at_cache(cache: Option<&str>, uncached: Option<&str>, broken: Option<&str>) -> StackStatus {
    let mut status = look("", None);
    status.arrays.clear();
    let (name, broken_by) = ("c".to_owned(), cache.map(str::to_owned));
    status.caches.push(CacheStatus { name, broken_by, ..CacheStatus::default() });
    status.cached.push(CachedStatus {
        name: "home".to_owned(),
        backing: Some("b".to_owned()),
        uncached_by: uncached.map(str::to_owned),
        broken_by: broken.map(str::to_owned),
        ..CachedStatus::default()
    });
    status
}

#[test]
fn what_fails_of_caches_and_their_volumes_is_told_once() {
    let (well, no, why) = (look_at_cache(None, None, None), None, Some("gone"));
    for (now, expected) in [
        (look_at_cache(no, no, no), ""),
        (look_at_cache(why, no, no), "CacheFail"),
        (look_at_cache(why, why, no), "CacheFail, VolumeUncached"),
        (look_at_cache(why, no, why), "CacheFail, VolumeFail b"),
        (look_at_cache(no, no, why), "VolumeFail b"),
    ] {
        assert_eq!(told(Before::Ran(&well), Some(&now)), expected);
        assert_eq!(told(Before::FirstLook, Some(&now)), expected);
        assert_eq!(told(Before::Ran(&now), Some(&now)), "");
    }
}

#[test]
fn what_members_do_is_told_by_mdadms_names() {
    for (before, now, expected) in [
        ("a:in_sync b:in_sync", "a:in_sync b:in_sync", ""),
        ("a:in_sync b:in_sync", "a:in_sync b:faulty", "Fail b"),
        ("a:in_sync b:in_sync", "a:in_sync b:removed", "Fail b"),
        ("a:in_sync b:in_sync", "a:in_sync", "Fail b"),
        ("a:in_sync b:faulty", "a:in_sync b:removed", ""),
        ("a:in_sync b:faulty", "a:in_sync", ""),
        ("a:in_sync b:spare", "a:in_sync b:faulty", "FailSpare b"),
        ("a:in_sync b:spare", "a:in_sync b:removed", ""),
        ("a:in_sync b:spare", "a:in_sync b:in_sync", "SpareActive b"),
        ("a:in_sync b:spare", "a:in_sync b:recovering", ""),
        ("a:in_sync b:recovering", "a:in_sync b:in_sync", "SpareActive b"),
        ("a:in_sync b:recovering", "a:in_sync b:faulty", "FailSpare b"),
        ("a:in_sync b:in_sync", "a:in_sync b:recovering", "Fail b"),
        ("a:in_sync b:faulty", "a:in_sync b:faulty c:spare", ""),
        ("a:in_sync b:faulty", "a:in_sync b:faulty c:in_sync", "SpareActive c"),
        ("a:in_sync b:in_sync c:spare", "a:faulty b:in_sync c:in_sync", "Fail a, SpareActive c"),
    ] {
        let (before, now) = (look(before, None), look(now, None));
        assert_eq!(told(Before::Ran(&before), Some(&now)), expected);
    }
}

#[test]
fn a_sync_action_is_told_from_its_start_to_its_end() {
    let both = "a:in_sync b:in_sync";
    for (before, now, expected) in [
        (None, Some(0), "RebuildStarted"),
        (Some(0), Some(19), ""),
        (Some(19), Some(21), "Rebuild21"),
        (Some(21), Some(39), ""),
        (Some(5), Some(99), "Rebuild99"),
        (Some(99), None, "RebuildFinished"),
        (Some(80), Some(3), "RebuildFinished, RebuildStarted"),
    ] {
        let (before, now) = (look(both, before), look(both, now));
        assert_eq!(told(Before::Ran(&before), Some(&now)), expected);
    }
}

#[test]
fn the_first_sight_of_an_array_tells_how_it_stands() {
    let (whole, short) = (look("a:in_sync b:in_sync", Some(5)), look("a:in_sync b:faulty", None));
    assert_eq!(told(Before::FirstLook, Some(&whole)), "");
    assert_eq!(told(Before::FirstLook, Some(&short)), "DegradedArray");
    assert_eq!(told(Before::Absent, Some(&whole)), "NewArray, RebuildStarted");
    assert_eq!(told(Before::Absent, Some(&short)), "NewArray, DegradedArray");
    assert_eq!(told(Before::Ran(&short), None), "DeviceDisappeared");
    assert_eq!(told(Before::Absent, None), "");
    let rules = Rules { spares: 1, test: true, ..Rules::default() };
    let kinds: Vec<AlertKind> =
        alerts(Before::FirstLook, Some(&whole), &rules).iter().map(|alert| alert.kind).collect();
    assert_eq!(kinds, [AlertKind::TestMessage, AlertKind::SparesMissing]);
    let mut stripe = whole;
    stripe.arrays[0].level = "raid0".to_owned();
    let told = alerts(Before::FirstLook, Some(&stripe), &rules);
    assert!(
        told.iter().all(|alert| alert.kind == AlertKind::TestMessage),
        "a stripe has no spares: {told:?}"
    );
}

/// Every way in which two members can stand at two looks: nothing is told without a change, and a change of who is in sync
/// always is.
#[test]
fn who_is_in_sync_never_changes_in_silence() {
    let states = ["in_sync", "recovering", "replacing", "spare", "faulty", "removed"];
    let looks = || states.iter().flat_map(|a| states.iter().map(move |b| format!("a:{a} b:{b}")));
    for before in looks() {
        for now in looks() {
            let (old, new) = (look(&before, None), look(&now, None));
            let alerts = alerts(Before::Ran(&old), Some(&new), &Rules::default());
            assert!(before != now || alerts.is_empty(), "{before}");
            for (old, new) in old.arrays[0].members.iter().zip(&new.arrays[0].members) {
                let own: Vec<AlertKind> = alerts
                    .iter()
                    .filter(|alert| alert.member.as_ref() == Some(&old.name))
                    .map(|alert| alert.kind)
                    .collect();
                let is_in_sync = |member: &MemberStatus| member.state == MemberState::InSync;
                match (is_in_sync(old), is_in_sync(new)) {
                    (true, false) => assert_eq!(own, [AlertKind::Fail]),
                    (false, true) => assert_eq!(own, [AlertKind::SpareActive]),
                    _ => assert!(own.iter().all(|kind| *kind == AlertKind::FailSpare), "{before} {now}"),
                }
            }
        }
    }
}

#[test]
fn mail_is_for_what_somebody_has_to_do_something_about() {
    use AlertKind::*;
    let all = [
        Fail,
        FailSpare,
        SpareActive,
        RebuildStarted,
        Rebuild(5),
        RebuildFinished,
        DegradedArray,
        NewArray,
        DeviceDisappeared,
        SparesMissing,
        TestMessage,
    ];
    let names = |mail: bool| -> Vec<String> {
        all.iter().filter(|kind| kind.is_for_mail() == mail).map(ToString::to_string).collect()
    };
    assert_eq!(names(true), ["Fail", "FailSpare", "DegradedArray", "SparesMissing", "TestMessage"]);
    let others =
        ["SpareActive", "RebuildStarted", "Rebuild05", "RebuildFinished", "NewArray", "DeviceDisappeared"];
    assert_eq!(names(false), others);
}
