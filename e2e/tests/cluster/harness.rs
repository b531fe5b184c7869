//! The harness itself: what it says and keeps when a test fails.

use std::fs;
use std::panic;
use std::time::Duration;

use e2e::harness::{self, ready};
use e2e::project;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::ListParams;

const MISSING_IMAGE: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: stuck
spec:
  automountServiceAccountToken: false
  securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
  containers:
    - name: stuck
      image: localhost/revenprox/no-such-image:dev
      imagePullPolicy: Never
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
";

#[test]
fn a_wait_in_vain_says_what_it_saw_last() {
    harness::run("wait_in_vain", async |sandbox| {
        let nothing = sandbox.wait("stuck", Duration::from_millis(500), ready::pod).await.unwrap_err();
        assert_eq!(nothing.to_string(), "Pod stuck is not as it should be after 0.5 s: there is none");
        sandbox.apply(MISSING_IMAGE).await?;
        let waits = |pod: &Pod| match ready::pod(pod) {
            Err(complaint) if complaint.contains("ErrImageNeverPull") => Ok(()),
            other => other.and(Err("ready without an image".to_owned())),
        };
        sandbox.wait("stuck", Duration::from_secs(30), waits).await?;
        let error = sandbox.wait("stuck", Duration::from_secs(1), ready::pod).await.unwrap_err().to_string();
        assert!(error.contains("container stuck waits: ErrImageNeverPull"), "{error}");
        Ok(())
    });
}

#[test]
fn a_failed_test_leaves_a_folder_and_no_namespace() {
    let folder = project::target().join("e2e/fails_on_purpose");
    let mut namespace = String::new();
    let failed = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        harness::run("fails_on_purpose", async |sandbox| {
            sandbox.namespace().clone_into(&mut namespace);
            sandbox.apply(MISSING_IMAGE).await?;
            let scheduled =
                |pod: &Pod| pod.status.as_ref().and_then(|status| status.container_statuses.clone());
            let seen = |pod: &Pod| scheduled(pod).map(drop).ok_or_else(|| "not on a node".to_owned());
            sandbox.wait("stuck", Duration::from_secs(30), seen).await?;
            sandbox.wait("stuck", Duration::from_secs(1), ready::pod).await?;
            Ok(())
        });
    }));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("Pod stuck is not as it should be"), "{message}");
    let pod = fs::read_to_string(folder.join("pods.stuck.yaml")).unwrap();
    assert!(pod.contains("no-such-image"), "{pod}");
    let events = fs::read_to_string(folder.join("events.txt")).unwrap();
    assert!(events.contains("Pod stuck Scheduled"), "{events}");
    fs::remove_dir_all(folder).unwrap();

    harness::run("after_a_failure", async |sandbox| {
        let namespaces = Api::<Namespace>::all(sandbox.client());
        let named = ListParams::default().fields(&format!("metadata.name={namespace}"));
        let left = namespaces.list(&named).await?;
        let stays = left.iter().any(|left| left.metadata.deletion_timestamp.is_none());
        assert_eq!(stays, harness::keeps(), "{namespace} is there: {left:?}");
        Ok(())
    });
}
