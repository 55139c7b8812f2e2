//! `ramp`, `from` and `until`: shares as a function of the clock, the same in every Envoy.

use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh64::xxh64;

use harness::bootstrap::Delivery;
use harness::client::Req;
use harness::{Mesh, Setup, block_on};

const STEP: Duration = Duration::from_secs(1);

/// A request that was sent, and in which of the steps: none where it was between two.
struct Sent {
    user: usize,
    path: String,
    step: Option<usize>,
}

#[test]
fn each_step_of_a_ramp_begins_at_its_moment_in_two_envoys_and_keeps_who_was_in() {
    block_on(async {
        let idle = json!({"rules": [{"name": "r", "mirrors": [{"cluster": "mirror", "percentage": 0}]}]});
        let setup = || Setup::new(idle.clone()).delivered_by(Delivery::Ecds);
        let mut meshes = [Mesh::start(setup()).await.ok().unwrap(), Mesh::start(setup()).await.ok().unwrap()];
        // Step 0 is before the first; the last share is none again.
        let shares = [0, 20, 40, 60, 80, 100, 0];
        let begin = SystemTime::now() + Duration::from_millis(1500);
        let at = |step: u32| OffsetDateTime::from(begin + STEP * step).format(&Rfc3339).unwrap();
        let ramp: Vec<_> =
            (0..6).map(|step| json!({"at": at(step), "percentage": shares[step as usize + 1]})).collect();
        let mirrors = json!([
            {"cluster": "mirror", "ramp": ramp, "consistentHash": {"httpHeaderName": "x-user"}},
            {"cluster": "mirror2", "from": at(0), "until": at(4)},
        ]);
        let plugin = json!({"rules": [{"name": "r", "mirrors": mirrors}]});
        let mut sent = Vec::new();
        for mesh in &mut meshes {
            mesh.update(&plugin);
            mesh.stat("traffic_mirror.config_reload", 2).await;
        }
        let step_at = |now: SystemTime| now.duration_since(begin).map_or(0, |since| since.as_secs() as usize + 1);
        let mut clients = [meshes[0].client().await, meshes[1].client().await];
        while step_at(SystemTime::now()) < shares.len() {
            let (user, path) = (sent.len() % 40, format!("/{}", sent.len()));
            let before = step_at(SystemTime::now());
            for client in &mut clients {
                client.send(Req::get(&path).header("x-user", user.to_string())).await;
            }
            let after = step_at(SystemTime::now());
            sent.push(Sent { user, path, step: (before == after).then_some(after) });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for mesh in &meshes {
            mesh.settle().await;
            let [by_ramp, by_period] = [&mesh.mirror, &mesh.mirror2].map(|upstream| upstream.so_far());
            let has = |copies: &[harness::upstream::Received], path: &str| copies.iter().any(|copy| copy.path == path);
            let mut known = [0; 7];
            for Sent { user, path, step } in &sent {
                let Some(step) = *step else { continue };
                known[step] += 1;
                let part = xxh64(user.to_string().as_bytes(), 0) % 1_000_000;
                assert_eq!(has(&by_ramp, path), part < shares[step] * 10_000, "{path} of {user} in step {step}");
                assert_eq!(has(&by_period, path), (1..5).contains(&step), "{path} in step {step}");
            }
            assert!(known.iter().skip(1).all(|count| *count > 3), "too few requests in a step: {known:?}");
            let ledger = mesh.ledger().await;
            assert!(ledger.copies("r", "mirror2", "unscheduled") > 0 && ledger.copies("r", "mirror", "unsampled") > 0);
        }
    });
}
