// Package chart renders tuning/helm as Helm does, and holds the result against what is expected of it.
package chart

import (
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

const (
	folder    = "../../../tuning/helm"
	manifests = "../../../tuning/kubernetes/ringway.yaml"
)

// render returns the objects in the order of their files, and the notes.
func render(release, values string) (objects, notes string, err error) {
	chart, err := loader.Load(folder)
	if err != nil {
		return "", "", err
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return "", "", err
	}
	named := chartutil.ReleaseOptions{Name: release, Namespace: "edge", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, given, named, chartutil.DefaultCapabilities)
	if err != nil {
		return "", "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", "", err
	}
	var names, parts []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text := strings.TrimSpace(files[name])
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			notes = text
		case text != "":
			parts = append(parts, text+"\n")
		}
	}
	if len(parts) == 0 {
		return "", "", errors.New("no object was rendered")
	}
	return strings.Join(parts, "---\n"), notes, nil
}

// The manifests for those who have no Helm are the chart's output. UPDATE=1 writes them.
func TestTheManifestsAreWhatTheChartRenders(t *testing.T) {
	rendered, _, err := render("ringway", "")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	body := string(kept)
	for strings.HasPrefix(body, "#") {
		_, body, _ = strings.Cut(body, "\n")
	}
	if rendered == body {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s is not what the chart renders; UPDATE=1 tests/partners/helm.sh writes it", manifests)
	}
	header := strings.TrimSuffix(string(kept), body)
	if err := os.WriteFile(manifests, []byte(header+rendered), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheChartHasNoFault(t *testing.T) {
	for _, message := range lint.All(folder, nil, "edge", true).Messages {
		if message.Severity > support.InfoSev {
			t.Error(message)
		}
	}
}

var variants = []struct {
	name, release, values string
	has, hasNot           []string
}{
	{
		name: "defaults", release: "ringway",
		has:    []string{"  name: ringway\n", "image: ringway:0.1.0\n", "kind: NetworkPolicy", "{ protocol: TCP, port: admin }"},
		hasNot: []string{"nodeSelector", "namespace:"},
	},
	{
		name: "another-release", release: "public",
		has: []string{"  name: public-ringway\n", `app.kubernetes.io/instance: "public"`, "configMap: { name: public-ringway }"},
	},
	{
		name: "ports", release: "ringway",
		values: `{ports: {grpc: 9090, admin: 9902}, config: "admin.address = \"0.0.0.0:9902\"\n[[listeners]]\naddress = \"0.0.0.0:9090\"\n[[routes]]\ncluster = \"a\"\n[[clusters]]\nname = \"a\"\nendpoints = [\"a:1\"]\n"}`,
		has:    []string{"containerPort: 9090", "containerPort: 9902", `prometheus.io/port: "9902"`},
	},
	{
		name: "admin-for-nobody", release: "ringway",
		values: `{networkPolicy: {adminFrom: []}}`,
		has:    []string{"kind: NetworkPolicy"},
		hasNot: []string{"{ protocol: TCP, port: admin }", "namespaceSelector"},
	},
	{
		name: "everything", release: "ringway",
		values: `
replicas: 5
image: {repository: registry.example/edge/ringway, tag: "1.2.3", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
service: {type: ClusterIP, port: 443, headless: true, annotations: {owner: edge}}
seccompProfile: {type: Localhost, localhostProfile: other.json}
resources: {requests: {cpu: "4", memory: 1Gi}, limits: {cpu: "4", memory: 1Gi}}
preStopSeconds: 10
terminationGracePeriodSeconds: 60
volumes: [{name: keys, secret: {secretName: keys, defaultMode: 288}}]
volumeMounts: [{name: keys, mountPath: /keys, readOnly: true}]
env: [{name: ZONE, value: a}]
podAnnotations: {note: x}
podLabels: {team: edge}
nodeSelector: {pool: edge}
tolerations: [{key: edge, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
serviceAccountName: edge
`,
		has: []string{
			"replicas: 5", "image: registry.example/edge/ringway:1.2.3", "clusterIP: None", "port: 443", "owner: edge",
			"localhostProfile: other.json", "memory: 1Gi", "seconds: 10", "terminationGracePeriodSeconds: 60",
			"secretName: keys", "mountPath: /keys", "name: ZONE", "note: x", "team: edge", "pool: edge",
			"operator: Exists", "nodeAffinity", "priorityClassName: high", "serviceAccountName: edge", "name: registry",
		},
	},
}

// Each variant goes to the folder RENDERED, too, where the checks of the plain manifests are made on it.
func TestValuesReachTheObjects(t *testing.T) {
	for _, variant := range variants {
		objects, _, err := render(variant.release, variant.values)
		if err != nil {
			t.Errorf("%s: %v", variant.name, err)
			continue
		}
		for _, part := range variant.has {
			if !strings.Contains(objects, part) {
				t.Errorf("%s: no %q in\n%s", variant.name, part, objects)
			}
		}
		for _, part := range variant.hasNot {
			if strings.Contains(objects, part) {
				t.Errorf("%s: %q is in\n%s", variant.name, part, objects)
			}
		}
		if folder := os.Getenv("RENDERED"); folder != "" {
			path := filepath.Join(folder, variant.name+".yaml")
			if err := os.WriteFile(path, []byte(objects), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for values, reason := range map[string]string{
		"{replica: 3}":                         "replica",
		"{replicas: three}":                    "replicas",
		"{ports: {grpc: 8081, admin: 9901}}":   "ports.grpc is 8081, and no address in values.config has that port",
		"{service: {type: Internal}}":          "/service/type",
		"{networkPolicy: {adminFrom: [true]}}": "adminFrom",
	} {
		if _, _, err := render("ringway", values); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: no %q in %v", values, reason, err)
		}
	}
}

func TestTheNotesSayWhatIsLeftToDo(t *testing.T) {
	_, notes, err := render("ringway", "{networkPolicy: {enabled: false}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"ringway.edge:8080", "/seccomp/ringway.json", "open to every pod"} {
		if !strings.Contains(notes, part) {
			t.Errorf("no %q in\n%s", part, notes)
		}
	}
	objects, notes, err := render("ringway", "{seccompProfile: {type: RuntimeDefault, localhostProfile: null}}")
	if err != nil || strings.Contains(notes, "seccomp") || strings.Contains(objects, "localhostProfile") {
		t.Errorf("%v\n%s\n%s", err, notes, objects)
	}
}
