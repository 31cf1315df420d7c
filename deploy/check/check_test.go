// Package check holds the files of the folder deploy against what those who read them demand: compose's own schema, that of
// Kubernetes' API, the rules of a Dockerfile. It is a module of its own, since nobody else needs a reader of JSON schemas.
package check

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// schema is one of testdata, or a definition in it. Formats count: a duration must be one.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "duration", Validate: func(v any) error { // as Go writes them, not ISO 8601
		text, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := time.ParseDuration(text)
		return err
	}})
	s, err := c.Compile(name)
	require.NoError(t, err)
	return s
}

// documents are those of a YAML file, as JSON has them. A key that stands there twice is an error.
func documents(text string) (all []any, err error) {
	in := yaml.NewDecoder(strings.NewReader(text))
	for {
		var d any
		if err := in.Decode(&d); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
}

// into copies a document into v, which has the members that a test looks at.
func into(t *testing.T, document, v any) {
	t.Helper()
	text, err := yaml.Marshal(document)
	require.NoError(t, err)
	require.NoError(t, yaml.NewDecoder(bytes.NewReader(text)).Decode(v))
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// project has the members of compose.yaml that the test looks at.
type project struct {
	Services map[string]struct {
		Build           struct{ Context, Dockerfile string }
		ReadOnly        bool          `yaml:"read_only"`
		CapDrop         []string      `yaml:"cap_drop"`
		StopGracePeriod time.Duration `yaml:"stop_grace_period"` // the schema says no more than that it is a string
		Restart         string
		Volumes         []string
		Ports           []string
	}
	Volumes map[string]any
}

// compose reads a file, and returns why compose would refuse it.
func compose(text string, s *jsonschema.Schema) (p project, err error) {
	all, err := documents(text)
	if err != nil {
		return p, err
	}
	if len(all) != 1 {
		return p, fmt.Errorf("%d documents", len(all))
	}
	if err := s.Validate(all[0]); err != nil {
		return p, err
	}
	if err := yaml.Unmarshal([]byte(text), &p); err != nil {
		return p, err
	}
	for name, service := range p.Services {
		for _, v := range service.Volumes {
			if source, _, _ := strings.Cut(v, ":"); !strings.ContainsAny(source, "./") {
				if _, declared := p.Volumes[source]; !declared {
					return p, fmt.Errorf("%s: the volume %s is declared nowhere", name, source)
				}
			}
		}
	}
	return p, nil
}

func TestComposeTakesTheFile(t *testing.T) {
	text, s := read(t, "../compose.yaml"), schema(t, "testdata/compose.json")
	project, err := compose(text, s)
	require.NoError(t, err)
	for old, bad := range map[string]string{
		"read_only: true":          "readonly: true",
		"cap_drop: [ALL]":          "cap_drop: ALL",
		"restart: unless-stopped":  "restart: [always]",
		"stop_grace_period: 10s":   "stop_grace_period: ten",
		"nofile: 65536":            "nofile: [1]",
		"services:":                "service:",
		"dockerfile: deploy/":      "dockrfile: deploy/",
		"    <<: *server\n":        "    <<: *server\n    <<: *server\n",
		`volumes: ["kvs-2:/data"]`: `volumes: ["kvs-4:/data"]`,
		"name: kvs\n":              "name: kvs\nname: kvs\n",
		"\nvolumes:":               "\nvolumes: []\nx:",
	} {
		require.Contains(t, text, old)
		_, err := compose(strings.Replace(text, old, bad, 1), s)
		require.Error(t, err, bad)
	}

	require.Len(t, project.Services, 3)
	for name, s := range project.Services {
		require.Equal(t, "..", s.Build.Context, name)
		require.Equal(t, "deploy/Dockerfile", s.Build.Dockerfile, name)
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Equal(t, []string{name + ":/data"}, s.Volumes, "each has a volume of its own")
		require.GreaterOrEqual(t, s.StopGracePeriod, 10*time.Second, "a server hands leadership over first")
		require.Equal(t, "unless-stopped", s.Restart, name)
		for _, port := range s.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s: strangers do not reach it", name)
		}
	}
}

// kinds are those of kubernetes.yaml, with their definitions in testdata/kubernetes.json.
var kinds = map[string]string{
	"v1/Service": "Service", "policy/v1/PodDisruptionBudget": "PodDisruptionBudget",
	"networking.k8s.io/v1/NetworkPolicy": "NetworkPolicy", "apps/v1/StatefulSet": "StatefulSet",
}

// kubernetes reads objects, and returns why the API would refuse one: a field that its type does not have is an error.
func kubernetes(text string, schemas map[string]*jsonschema.Schema) (map[string]any, error) {
	all, err := documents(text)
	if err != nil {
		return nil, err
	}
	objects := map[string]any{}
	for _, d := range all {
		var head struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Name string }
		}
		b, err := yaml.Marshal(d)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(b, &head); err != nil {
			return nil, err
		}
		name := head.Kind + " " + head.Metadata.Name
		s, known := schemas[head.APIVersion+"/"+head.Kind]
		if !known {
			return nil, fmt.Errorf("no kind that is checked here: %s/%s", head.APIVersion, head.Kind)
		}
		if err := s.Validate(d); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, twice := objects[name]; twice || head.Metadata.Name == "" {
			return nil, fmt.Errorf("two of %s, or no name", name)
		}
		objects[name] = d
	}
	return objects, nil
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// statefulSet has the fields that the test looks at; the schema has seen to the rest.
type statefulSet struct {
	Spec struct {
		ServiceName         string `yaml:"serviceName"`
		Replicas            int
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Selector            selector
		Template            struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Grace    int `yaml:"terminationGracePeriodSeconds"`
				Security struct {
					RunAsNonRoot bool `yaml:"runAsNonRoot"`
					RunAsUser    int  `yaml:"runAsUser"`
					FSGroup      int  `yaml:"fsGroup"`
				} `yaml:"securityContext"`
				Affinity struct {
					PodAntiAffinity struct {
						Required []struct {
							TopologyKey   string   `yaml:"topologyKey"`
							LabelSelector selector `yaml:"labelSelector"`
						} `yaml:"requiredDuringSchedulingIgnoredDuringExecution"`
					} `yaml:"podAntiAffinity"`
				}
				Containers []struct {
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					LivenessProbe  probe `yaml:"livenessProbe"`
					ReadinessProbe probe `yaml:"readinessProbe"`
					Security       struct {
						ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
						Escalation   *bool `yaml:"allowPrivilegeEscalation"`
						Capabilities struct{ Drop []string }
					} `yaml:"securityContext"`
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}
}

type service struct {
	Spec struct {
		ClusterIP       string `yaml:"clusterIP"`
		PublishNotReady bool   `yaml:"publishNotReadyAddresses"`
		Selector        map[string]string
		Ports           []struct {
			TargetPort string `yaml:"targetPort"`
		}
	}
}

func TestKubernetesTakesTheFile(t *testing.T) {
	schemas := map[string]*jsonschema.Schema{}
	for kind, name := range kinds {
		schemas[kind] = schema(t, "testdata/kubernetes.json#/$defs/"+name)
	}
	text := read(t, "../kubernetes.yaml")
	all, err := kubernetes(text, schemas)
	require.NoError(t, err)
	require.Len(t, all, 5)
	for old, bad := range map[string]string{
		"publishNotReadyAddresses: true":                        "publishNotreadyAddresses: true",
		"maxUnavailable: 1":                                     "maxUnavailable: [1]",
		"policyTypes: [Ingress]":                                "policyTypes: Ingress",
		"  replicas: 3":                                         "  replicas: three",
		"serviceName: kvs-servers":                              "servicename: kvs-servers",
		"  selector:\n    matchLabels: {app: kvs}\n  template:": "  template:",
		"containerPort: 4000":                                   "containerPort: \"4000\"",
		"- name: kvs\n          image":                          "- image",
		"{fieldPath: metadata.name}":                            "{path: metadata.name}",
		"httpGet: {path: /health, port: http}":                  "httpGet: {path: /health}",
		"memory: 1Gi":                                           "memory: 1GiB",
		"storage: 4Gi":                                          "storage: 4 Gi",
		"runAsUser: 65532":                                      "runAsUser: nobody",
		"capabilities: {drop: [ALL]}":                           "capabilities: {drop: ALL}",
		"mountPath: /data":                                      "mount: /data",
		"apiVersion: apps/v1":                                   "apiVersion: apps/v1beta1",
		"topologyKey: kubernetes.io/hostname":                   "topologykey: kubernetes.io/hostname",
		"failureThreshold: 6":                                   "failureThreshold: 6\n            failureThreshold: 6",
	} {
		require.Contains(t, text, old)
		_, err := kubernetes(strings.Replace(text, old, bad, 1), schemas)
		require.Error(t, err, bad)
	}

	var set statefulSet
	into(t, all["StatefulSet kvs"], &set)
	pod := set.Spec.Template
	server := pod.Spec.Containers[0]
	labels := pod.Metadata.Labels
	ports := map[string]bool{}
	for _, p := range server.Ports {
		ports[p.Name] = true
	}
	for _, name := range []string{"kvs", set.Spec.ServiceName} {
		require.Contains(t, all, "Service "+name)
		var s service
		into(t, all["Service "+name], &s)
		require.Equal(t, labels, s.Spec.Selector, name)
		require.NotEmpty(t, s.Spec.Ports)
		for _, p := range s.Spec.Ports {
			require.True(t, ports[p.TargetPort], "%s: %s", name, p.TargetPort)
		}
		if name == set.Spec.ServiceName {
			require.Equal(t, "None", s.Spec.ClusterIP, "the service that names the servers is headless")
			require.True(t, s.Spec.PublishNotReady, "a server is found before it is ready")
		}
	}
	require.Equal(t, labels, set.Spec.Selector.MatchLabels)
	require.Equal(t, "Parallel", set.Spec.PodManagementPolicy)
	require.Equal(t, 3, set.Spec.Replicas)

	var budget struct {
		Spec struct {
			MaxUnavailable int `yaml:"maxUnavailable"`
			Selector       selector
		}
	}
	into(t, all["PodDisruptionBudget kvs"], &budget)
	require.Equal(t, 1, budget.Spec.MaxUnavailable)
	require.Equal(t, labels, budget.Spec.Selector.MatchLabels)
	var policy struct {
		Spec struct {
			PodSelector selector `yaml:"podSelector"`
		}
	}
	into(t, all["NetworkPolicy kvs"], &policy)
	require.Equal(t, labels, policy.Spec.PodSelector.MatchLabels)

	apart := pod.Spec.Affinity.PodAntiAffinity.Required
	require.Equal(t, "kubernetes.io/hostname", apart[0].TopologyKey)
	require.Equal(t, labels, apart[0].LabelSelector.MatchLabels)
	for what, probe := range map[string]probe{"/health": server.LivenessProbe, "/ready": server.ReadinessProbe} {
		require.Equal(t, what, probe.HTTPGet.Path)
		require.True(t, ports[probe.HTTPGet.Port], what)
	}
	require.True(t, pod.Spec.Security.RunAsNonRoot)
	require.Equal(t, 65532, pod.Spec.Security.RunAsUser)
	require.Equal(t, 65532, pod.Spec.Security.FSGroup, "the user of the image may write into the volume")
	require.True(t, server.Security.ReadOnly)
	require.NotNil(t, server.Security.Escalation)
	require.False(t, *server.Security.Escalation)
	require.Equal(t, []string{"ALL"}, server.Security.Capabilities.Drop)
	require.Equal(t, set.Spec.VolumeClaimTemplates[0].Metadata.Name, server.VolumeMounts[0].Name)
	require.Equal(t, "/data", server.VolumeMounts[0].MountPath)
	require.GreaterOrEqual(t, pod.Spec.Grace, 10, "a server hands leadership over first")
}
