package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const slipwayChart = "../../../charts/slipway"

func slipwayOptions() Options {
	return Options{Dir: slipwayChart, Version: "1.2.3-rc.1", AppVersion: "1.2.3-rc.1", Time: commitTime}
}

func TestSlipwayChart(t *testing.T) {
	tgz, r := mustPack(t, slipwayOptions())
	want := []string{
		"ghcr.io/slipway-build/slipway:1.2.3-alpine",
		"ghcr.io/slipway-build/slipway:1.2.3-rc.1",
		"ghcr.io/slipway-build/slipway:1.2.3-ubi",
		"ghcr.io/slipway-build/slipway@sha256:" + digestHex,
	}
	if r.Name != "slipway" || r.Renders != 4 || !slices.Equal(r.Images, want) || len(r.Warnings) != 0 {
		t.Errorf("got %+v, want the images %q and no warnings", r, want)
	}
	for _, n := range names(t, tgz) {
		if strings.HasPrefix(n, "slipway/ci/") {
			t.Errorf("%s is packaged", n)
		}
	}
}

// rendered is what a release of the slipway chart would install, by kind; every field must be one that Kubernetes knows.
type rendered struct {
	notes       string
	docs        int
	deployment  *appsv1.Deployment
	service     *corev1.Service
	account     *corev1.ServiceAccount
	claim       *corev1.PersistentVolumeClaim
	scaler      *autoscalingv2.HorizontalPodAutoscaler
	ingress     *networkingv1.Ingress
	policy      *networkingv1.NetworkPolicy
	disruptions *policyv1.PodDisruptionBudget
	test        *corev1.Pod
}

func renderSlipway(t *testing.T, values string) (rendered, error) {
	t.Helper()
	tr, err := readTree(slipwayChart)
	if err != nil {
		t.Fatal(err)
	}
	if tr.files[chartFile], _, err = stamp(tr.files[chartFile], "1.2.3+build.4", "1.2.3+build.4", nil); err != nil {
		t.Fatal(err)
	}
	c, err := load(tr.files)
	if err != nil {
		t.Fatal(err)
	}
	set, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	top, err := chartutil.ToRenderValues(c, set, chartutil.ReleaseOptions{Name: "prod", Namespace: "releases"}, nil)
	if err != nil {
		return rendered{}, err
	}
	out, err := engine.Engine{Strict: true}.Render(c, top)
	if err != nil {
		return rendered{}, err
	}
	var r rendered
	for _, name := range slices.Sorted(maps.Keys(out)) {
		text := out[name]
		if path.Base(name) == "NOTES.txt" {
			r.notes = text
			continue
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		into := map[string]any{
			"apps/v1 Deployment":                     &r.deployment,
			"v1 Service":                             &r.service,
			"v1 ServiceAccount":                      &r.account,
			"v1 PersistentVolumeClaim":               &r.claim,
			"autoscaling/v2 HorizontalPodAutoscaler": &r.scaler,
			"networking.k8s.io/v1 Ingress":           &r.ingress,
			"networking.k8s.io/v1 NetworkPolicy":     &r.policy,
			"policy/v1 PodDisruptionBudget":          &r.disruptions,
			"v1 Pod":                                 &r.test,
		}[kind.APIVersion+" "+kind.Kind]
		if into == nil {
			t.Fatalf("%s: unexpected %v", name, kind)
		}
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		r.docs++
	}
	return r, nil
}

func mustRender(t *testing.T, values string) rendered {
	t.Helper()
	r, err := renderSlipway(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ciValues(t *testing.T) map[string]string {
	t.Helper()
	tr, err := readTree(slipwayChart)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"": ""}
	for _, v := range tr.values {
		all[v.name] = string(v.data)
	}
	if len(all) < 4 {
		t.Fatalf("only %d values", len(all))
	}
	return all
}

func TestSlipwaySecurity(t *testing.T) {
	for name, values := range ciValues(t) {
		r := mustRender(t, values)
		if r.account != nil && (r.account.AutomountServiceAccountToken == nil || *r.account.AutomountServiceAccountToken) {
			t.Errorf("%s: the service account mounts its token", name)
		}
		// On OpenShift the cluster chooses the users; its values take ours away.
		users := !strings.Contains(values, "runAsUser: null")
		for what, spec := range map[string]corev1.PodSpec{"deployment": r.deployment.Spec.Template.Spec, "test": r.test.Spec} {
			bad := func(ok bool, setting string) {
				if !ok {
					t.Errorf("%s: %s: %s", name, what, setting)
				}
			}
			p := spec.SecurityContext
			bad(spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken, "automountServiceAccountToken")
			bad(!spec.HostNetwork && !spec.HostPID && !spec.HostIPC, "host namespaces")
			bad(*p.RunAsNonRoot, "pod runAsNonRoot")
			bad(!users || *p.RunAsUser == 65532 && *p.RunAsGroup == 65532 && *p.FSGroup == 65532, "pod user")
			bad(p.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "pod seccomp")
			bad(len(spec.Containers) == 1, "number of containers")
			c := spec.Containers[0]
			s := c.SecurityContext
			bad(*s.RunAsNonRoot, "runAsNonRoot")
			bad(!users || *s.RunAsUser == 65532 && *s.RunAsGroup == 65532, "user")
			bad(*s.ReadOnlyRootFilesystem, "readOnlyRootFilesystem")
			bad(!*s.AllowPrivilegeEscalation, "allowPrivilegeEscalation")
			bad(!*s.Privileged, "privileged")
			bad(len(s.Capabilities.Drop) == 1 && s.Capabilities.Drop[0] == "ALL" && len(s.Capabilities.Add) == 0, "capabilities")
			bad(s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp")
			bad(!c.Resources.Limits.Memory().IsZero() && !c.Resources.Requests.Cpu().IsZero(), "resources")
			bad(slices.Equal(c.Command, []string{"/usr/local/bin/slipway"}), "command")
			bad(c.Image == r.deployment.Spec.Template.Spec.Containers[0].Image, "image")
		}
	}
}

func TestSlipwayObjects(t *testing.T) {
	for name, values := range ciValues(t) {
		r := mustRender(t, values)
		d := r.deployment
		spec := d.Spec.Template.Spec
		c := spec.Containers[0]
		for k, v := range d.Spec.Selector.MatchLabels {
			if d.Spec.Template.Labels[k] != v {
				t.Errorf("%s: the deployment does not select its pods by %s", name, k)
			}
		}
		if !maps.Equal(r.service.Spec.Selector, d.Spec.Selector.MatchLabels) {
			t.Errorf("%s: the service selects %v", name, r.service.Spec.Selector)
		}
		selected := 0
		for k, v := range d.Spec.Selector.MatchLabels {
			if r.test.Labels[k] == v {
				selected++
			}
		}
		if selected == len(d.Spec.Selector.MatchLabels) {
			t.Errorf("%s: the service selects the pod of helm test", name)
		}
		for _, l := range []map[string]string{d.Labels, d.Spec.Template.Labels, r.service.Labels, r.test.Labels} {
			for k, v := range map[string]string{
				"app.kubernetes.io/name":       "slipway",
				"app.kubernetes.io/instance":   "prod",
				"app.kubernetes.io/version":    "1.2.3_build.4",
				"app.kubernetes.io/part-of":    "slipway",
				"app.kubernetes.io/managed-by": "Helm",
				"helm.sh/chart":                "slipway-1.2.3_build.4",
			} {
				if l[k] != v {
					t.Errorf("%s: label %s is %q, want %q", name, k, l[k], v)
				}
			}
		}
		port := c.Ports[0].ContainerPort
		if want := []string{"serve", "--listen", fmt.Sprintf(":%d", port), "--root", "/releases"}; !slices.Equal(c.Args[:5], want) {
			t.Errorf("%s: args %q, want %q", name, c.Args, want)
		}
		for probe, want := range map[*corev1.Probe]string{c.StartupProbe: "/healthz", c.LivenessProbe: "/healthz", c.ReadinessProbe: "/readyz"} {
			if probe.HTTPGet.Path != want || probe.HTTPGet.Port.StrVal != "http" || probe.PeriodSeconds == 0 || probe.FailureThreshold == 0 {
				t.Errorf("%s: probe %v, want %s", name, probe, want)
			}
		}
		if m := c.VolumeMounts[0]; m.MountPath != "/releases" || !m.ReadOnly || m.Name != spec.Volumes[0].Name {
			t.Errorf("%s: mount %v", name, m)
		}
		test := r.test.Spec.Containers[0].Args
		if want := fmt.Sprintf("http://%s:%d", r.service.Name, r.service.Spec.Ports[0].Port); !slices.Equal(test, []string{"serve", "--ready", want}) {
			t.Errorf("%s: helm test runs %q, want a check of %s", name, test, want)
		}
		if r.test.Annotations["helm.sh/hook"] != "test" || r.test.Spec.RestartPolicy != "Never" {
			t.Errorf("%s: the test is not one", name)
		}
		if !strings.Contains(r.notes, c.Image) || !strings.Contains(r.notes, "helm test prod --namespace releases") {
			t.Errorf("%s: the notes are\n%s", name, r.notes)
		}
	}
}

func TestSlipwayDefaults(t *testing.T) {
	r := mustRender(t, "")
	if r.docs != 4 {
		t.Errorf("%d objects, want the deployment, its service, its account and the test", r.docs)
	}
	d := r.deployment
	if d.Name != "prod-slipway" || d.Namespace != "releases" || *d.Spec.Replicas != 1 {
		t.Errorf("deployment %s in %s with %d", d.Name, d.Namespace, *d.Spec.Replicas)
	}
	if v := d.Spec.Template.Spec.Volumes[0]; v.EmptyDir == nil || v.EmptyDir.SizeLimit.String() != "1Gi" {
		t.Errorf("volume %v", v)
	}
	if !strings.Contains(r.notes, "emptyDir") || !strings.Contains(r.notes, "port-forward service/prod-slipway") {
		t.Errorf("the notes are\n%s", r.notes)
	}
}

func TestSlipwayFull(t *testing.T) {
	r := mustRender(t, ciValues(t)["ci/full-values.yaml"])
	if r.docs != 9 {
		t.Errorf("%d objects, want all nine", r.docs)
	}
	spec := r.deployment.Spec.Template.Spec
	if r.deployment.Spec.Replicas != nil {
		t.Error("the deployment sets replicas against the autoscaler")
	}
	if spec.Volumes[0].PersistentVolumeClaim.ClaimName != r.claim.Name || r.claim.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("claim %s %v, volume %v", r.claim.Name, r.claim.Annotations, spec.Volumes[0])
	}
	if ref := r.scaler.Spec.ScaleTargetRef; ref.Name != r.deployment.Name || ref.Kind != "Deployment" || len(r.scaler.Spec.Metrics) != 2 {
		t.Errorf("autoscaler %v", r.scaler.Spec)
	}
	if b := r.ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service; b.Name != r.service.Name || b.Port.Name != r.service.Spec.Ports[0].Name {
		t.Errorf("the ingress leads to %v", b)
	}
	if !maps.Equal(r.policy.Spec.PodSelector.MatchLabels, r.deployment.Spec.Selector.MatchLabels) || len(r.policy.Spec.Egress) != 0 || len(r.policy.Spec.PolicyTypes) != 2 {
		t.Errorf("network policy %v", r.policy.Spec)
	}
	from := r.policy.Spec.Ingress[0].From
	if len(from) != 2 {
		t.Fatalf("the network policy admits %v", from)
	}
	for k, v := range from[0].PodSelector.MatchLabels {
		if r.test.Labels[k] != v {
			t.Errorf("the network policy keeps the test out: %s is %q", k, r.test.Labels[k])
		}
	}
	if !maps.Equal(r.disruptions.Spec.Selector.MatchLabels, r.deployment.Spec.Selector.MatchLabels) {
		t.Errorf("disruption budget %v", r.disruptions.Spec)
	}
	if spec.ServiceAccountName != r.account.Name || spec.Containers[0].Image != "ghcr.io/slipway-build/slipway@sha256:"+digestHex {
		t.Errorf("account %s, image %s", spec.ServiceAccountName, spec.Containers[0].Image)
	}
}

func TestSlipwayImage(t *testing.T) {
	for values, want := range map[string]string{
		"":                                 "ghcr.io/slipway-build/slipway:1.2.3_build.4",
		"image: {distro: alpine}":          "ghcr.io/slipway-build/slipway:1.2.3_build.4-alpine",
		"image: {tag: 2.0.0}":              "ghcr.io/slipway-build/slipway:2.0.0",
		"image: {tag: 2.0.0, distro: ubi}": "ghcr.io/slipway-build/slipway:2.0.0-ubi",
		"image: {repository: 'localhost:5000/slipway', tag: v2.0.0-rc.1}":                            "localhost:5000/slipway:v2.0.0-rc.1",
		"image: {tag: 2.0.0, distro: ubi, digest: 'sha256:" + digestHex + "'}":                       "ghcr.io/slipway-build/slipway@sha256:" + digestHex,
		"{fullnameOverride: x, image: {repository: registry.example.com/a/b}, replicaCount: 0}":      "registry.example.com/a/b:1.2.3_build.4",
		"{securityContext: {runAsUser: null}, autoscaling: {targetCPUUtilizationPercentage: null}}":  "ghcr.io/slipway-build/slipway:1.2.3_build.4",
		"{podDisruptionBudget: {enabled: true, maxUnavailable: 50%}, global: {anything: [goes, 1]}}": "ghcr.io/slipway-build/slipway:1.2.3_build.4",
	} {
		r := mustRender(t, values)
		if got := r.deployment.Spec.Template.Spec.Containers[0].Image; got != want {
			t.Errorf("%s: image %s, want %s", values, got, want)
		}
	}
}

func TestSlipwaySchema(t *testing.T) {
	for _, values := range []string{
		"replicas: 2",
		"image: {tga: 1.2.3}",
		"image: {tag: latest}",
		"image: {tag: 1.2}",
		"image: {repository: 'slipway:1.2.3'}",
		"image: {distro: debian}",
		"image: {digest: 'sha256:0123'}",
		"image: {pullPolicy: Sometimes}",
		"replicaCount: many",
		"service: {port: 0}",
		"service: {targetPort: 80}",
		"service: {type: ExternalName}",
		"ingress: {hosts: []}",
		"ingress: {hosts: [{host: a, paths: [{path: x, pathType: Prefix}]}]}",
		"releases: {claim: {size: lots}}",
		"releases: {existingClaim: Not_A_Name}",
		"podSecurityContext: {runAsUser: 0}",
		"podSecurityContext: {runAsNonRoot: false}",
		"podSecurityContext: {runAsNonRoot: null}",
		"podSecurityContext: {sysctls: []}",
		"securityContext: {privileged: true}",
		"securityContext: {allowPrivilegeEscalation: true}",
		"securityContext: {allowPrivilegeEscalation: null}",
		"securityContext: {readOnlyRootFilesystem: false}",
		"securityContext: {capabilities: {add: [NET_ADMIN]}}",
		"securityContext: {capabilities: {drop: []}}",
		"securityContext: {runAsUser: 0}",
		"livenessProbe: {httpGet: {path: /}}",
		"podLabels: {a: 1}",
		"initContainers: [{name: a}]",
	} {
		if _, err := renderSlipway(t, values); err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s: error %v, want one of the schema", values, err)
		}
	}
}

// TestSlipwayDescribed: every value is in the schema, with a description, and in the README, and nothing else is.
func TestSlipwayDescribed(t *testing.T) {
	tr, err := readTree(slipwayChart)
	if err != nil {
		t.Fatal(err)
	}
	var schema node
	if err := json.Unmarshal(tr.files["values.schema.json"], &schema); err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValues(tr.files["values.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	readme := tr.files["README.md"]
	var compare func(at string, described bool, values map[string]any, n node)
	compare = func(at string, described bool, values map[string]any, n node) {
		if n.Additional != false {
			t.Errorf("%q: the schema is not strict", at)
		}
		for k, v := range values {
			sub, ok := n.Properties[k]
			if !ok {
				t.Errorf("%s%s is not in the schema", at, k)
			}
			described := described || bytes.Contains(readme, []byte("| `"+at+k+"` |"))
			if m, ok := v.(map[string]any); ok && len(sub.Properties) > 0 {
				compare(at+k+".", described, m, sub)
			} else if !described {
				t.Errorf("%s%s is not in README.md", at, k)
			}
		}
	}
	compare("", false, values, schema)
	for line := range strings.Lines(string(readme)) {
		cell, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		key, _, _ := strings.Cut(cell, "`")
		if _, err := values.PathValue(key); err != nil {
			if _, err := values.Table(key); err != nil {
				t.Errorf("README.md describes %q, which is not in values.yaml", key)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(schema.Properties)) {
		if schema.Properties[k].Description == "" {
			t.Errorf("%s has no description in the schema", k)
		}
		if _, ok := values[k]; !ok && k != "global" {
			t.Errorf("%s is in the schema and not in values.yaml", k)
		}
	}
}

type node struct {
	Description string          `json:"description"`
	Properties  map[string]node `json:"properties"`
	Additional  any             `json:"additionalProperties"`
}

func TestSlipwayMetadata(t *testing.T) {
	b, err := os.ReadFile(path.Join(slipwayChart, chartFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(map[string][]byte{chartFile: b})
	if err != nil {
		t.Fatal(err)
	}
	m := c.Metadata
	if m.Version != "0.0.0" || m.AppVersion != "0.0.0" {
		t.Errorf("versions %s and %s; the release stamps them", m.Version, m.AppVersion)
	}
	var links []struct{ Name, URL string }
	if err := yaml.UnmarshalStrict([]byte(m.Annotations["artifacthub.io/links"]), &links); err != nil || len(links) == 0 || links[0].URL != "https://github.com/slipway-build/slipway" {
		t.Errorf("links %v, %v", links, err)
	}
	if m.Annotations["artifacthub.io/license"] != "Apache-2.0" || m.Annotations["artifacthub.io/category"] == "" {
		t.Errorf("annotations %v", m.Annotations)
	}
}
