//! The manifests in `tuning/kubernetes`: they fit the gateway, their parts find each other, and the admin port is shut.
//!
//! `tests/partners/helm.sh` names a folder in `RINGWAY_MANIFESTS`: what the chart renders is held against the same checks.

use std::fs;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// The objects of one installation.
struct Manifest {
    path: PathBuf,
    map: Yaml,
    deployment: Yaml,
    budget: Yaml,
    policy: Yaml,
    service: Yaml,
}

impl Manifest {
    fn read(path: PathBuf) -> Manifest {
        let text = fs::read_to_string(&path).expect("a file that was listed");
        let documents = YamlLoader::load_from_str(&text).expect("it is YAML");
        let kinds: Vec<_> = documents.iter().map(|each| each["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["ConfigMap", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"]);
        let versions: Vec<_> = documents.iter().map(|each| each["apiVersion"].as_str()).collect();
        let known = ["v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "v1"].map(Some);
        assert_eq!(versions, known);
        let [map, deployment, budget, policy, service] =
            <[Yaml; 5]>::try_from(documents).expect("there are five");
        Manifest { path, map, deployment, budget, policy, service }
    }

    fn pod(&self) -> &Yaml {
        at(&self.deployment, "spec.template.spec")
    }

    fn container(&self) -> &Yaml {
        at(self.pod(), "containers.0")
    }

    fn config(&self) -> ringway::config::Config {
        let text = at(&self.map, "data")["ringway.toml"].as_str().expect("the configuration");
        ringway::config::parse(text, &self.path).expect("one that the gateway takes")
    }

    /// The number of a named port of the container.
    fn port(&self, name: &str) -> Option<i64> {
        let ports = self.container()["ports"].as_vec().expect("a list of ports");
        ports.iter().find(|port| port["name"].as_str() == Some(name))?["containerPort"].as_i64()
    }
}

/// The value at a path of keys and positions.
fn at<'a>(document: &'a Yaml, path: &str) -> &'a Yaml {
    path.split('.').fold(document, |value, key| match key.parse::<usize>() {
        Ok(place) => &value[place],
        Err(_) => &value[key],
    })
}

fn manifests() -> Vec<Manifest> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/kubernetes")];
    folders.extend(std::env::var_os("RINGWAY_MANIFESTS").map(PathBuf::from));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder of manifests"));
    let all: Vec<_> = files.map(|file| Manifest::read(file.expect("a file of it").path())).collect();
    assert!(all.len() >= folders.len(), "a folder has no manifest: {folders:?}");
    all
}

#[test]
fn the_manifests_fit_the_gateway() {
    for manifest in manifests() {
        let config = manifest.config();
        let place = manifest.path.display();
        assert_eq!(manifest.port("grpc"), Some(config.listeners[0].address.port().into()), "{place}");
        assert_eq!(manifest.port("admin"), Some(config.admin.address.port().into()), "{place}");
        let probes = [("startupProbe", "/ready"), ("readinessProbe", "/ready"), ("livenessProbe", "/live")];
        for (probe, path) in probes {
            let asked = &manifest.container()[probe]["httpGet"];
            assert_eq!(
                (asked["path"].as_str(), asked["port"].as_str()),
                (Some(path), Some("admin")),
                "{place}"
            );
        }
        let grace = manifest.pod()["terminationGracePeriodSeconds"].as_i64().expect("a number");
        let wait = at(manifest.container(), "lifecycle.preStop.sleep.seconds").as_i64().expect("a number");
        let drain = i64::try_from(config.drain_timeout.as_secs()).expect("an hour at most");
        assert!(grace > wait + drain, "{place}: the kubelet would cut a drain");
    }
}

#[test]
fn the_parts_of_the_manifests_find_each_other() {
    for Manifest { path, map, deployment, budget, policy, service } in &manifests() {
        let name = at(map, "metadata.name").as_str().expect("a name");
        for each in [deployment, budget, policy, service] {
            assert_eq!(at(each, "metadata.name").as_str(), Some(name));
        }
        let selectors = [
            at(deployment, "spec.selector.matchLabels"),
            at(budget, "spec.selector.matchLabels"),
            at(policy, "spec.podSelector.matchLabels"),
            at(service, "spec.selector"),
            at(deployment, "spec.template.spec.topologySpreadConstraints.0.labelSelector.matchLabels"),
            at(deployment, "spec.template.spec.topologySpreadConstraints.1.labelSelector.matchLabels"),
        ];
        let chosen = selectors[0].as_hash().expect("labels");
        assert!(!chosen.is_empty(), "every pod would be chosen");
        assert!(selectors.iter().all(|selector| selector.as_hash() == Some(chosen)), "{selectors:?}");
        let labels = at(deployment, "spec.template.metadata.labels").as_hash().expect("labels");
        assert!(chosen.iter().all(|(key, value)| labels.get(key) == Some(value)), "{}", path.display());
    }
}

#[test]
fn the_pod_mounts_the_configuration_and_has_no_more_than_it_needs() {
    for manifest in manifests() {
        let (pod, container) = (manifest.pod(), manifest.container());
        assert_eq!(pod["volumes"][0]["configMap"]["name"], manifest.map["metadata"]["name"]);
        assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
        let folder = container["volumeMounts"][0]["mountPath"].as_str().expect("a folder");
        let file =
            container["args"][2].as_str().expect("a path").strip_prefix(folder).expect("it is mounted");
        assert!(manifest.map["data"][file.trim_start_matches('/')].as_str().is_some(), "{file}");

        assert_eq!(at(pod, "securityContext.seccompProfile.type").as_str(), Some("Localhost"));
        assert_eq!(at(pod, "securityContext.runAsNonRoot").as_bool(), Some(true));
        assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
        assert_eq!(at(container, "securityContext.readOnlyRootFilesystem").as_bool(), Some(true));
        assert_eq!(at(container, "securityContext.allowPrivilegeEscalation").as_bool(), Some(false));
        assert_eq!(at(container, "securityContext.capabilities.drop.0").as_str(), Some("ALL"));
        let cpus = at(container, "resources.requests.cpu");
        assert_eq!(cpus, at(container, "resources.limits.cpu"), "the pod would be throttled");
    }
}

#[test]
fn the_admin_port_is_shut_to_the_cluster() {
    for Manifest { path, policy, service, .. } in &manifests() {
        let place = path.display();
        let offered = at(service, "spec.ports").as_vec().expect("a list of ports");
        let offered: Vec<_> = offered.iter().map(|port| port["targetPort"].as_str()).collect();
        assert_eq!(offered, [Some("grpc")], "{place}");
        let types = at(policy, "spec.policyTypes").as_vec().expect("a list of directions");
        assert!(types.iter().any(|each| each.as_str() == Some("Ingress")), "{place}");
        for rule in at(policy, "spec.ingress").as_vec().expect("a list of rules") {
            let ports = rule["ports"].as_vec().expect("a rule without ports opens all of them");
            let opens_admin = ports.iter().any(|port| port["port"].as_str() != Some("grpc"));
            let peers = rule["from"].as_vec().map_or(0, Vec::len);
            assert!(!opens_admin || peers > 0, "{place}: anybody may reach {ports:?}");
            let anybody =
                |peer: &Yaml| peer["namespaceSelector"].as_hash().is_some_and(|each| each.is_empty());
            assert!(!opens_admin || !rule["from"].as_vec().into_iter().flatten().any(anybody), "{place}");
        }
    }
}

#[test]
fn chart_and_gateway_have_one_version() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/helm/Chart.yaml");
    let chart =
        YamlLoader::load_from_str(&fs::read_to_string(chart).expect("the chart")).expect("it is YAML");
    for key in ["version", "appVersion"] {
        assert_eq!(chart[0][key].as_str(), Some(env!("CARGO_PKG_VERSION")), "{key}");
    }
    let image = format!("ringway:{}", env!("CARGO_PKG_VERSION"));
    let [plain, ..] = &manifests()[..] else { unreachable!("there is one") };
    assert_eq!(plain.container()["image"].as_str(), Some(&*image));
}
