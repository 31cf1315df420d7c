// Package check holds the files of the folder deploy against those who read them: the parser of Docker, the schema of compose,
// the types of Kubernetes. It is a module of its own, since these are large.
package check

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestDockerTakesTheDockerfile(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	file, err := parser.Parse(bytes.NewReader(text))
	require.NoError(t, err)
	require.Empty(t, file.Warnings)
	var warnings []string
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { warnings = append(warnings, rule+": "+message) }})
	stages, _, err := instructions.Parse(file.AST, lint)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Len(t, stages, 2)
	last := map[string]instructions.Command{}
	for _, c := range stages[1].Commands {
		last[strings.ToLower(c.Name())] = c
	}
	require.Equal(t, "scratch", stages[1].BaseName)
	require.Equal(t, "65532:65532", last["user"].(*instructions.UserCommand).User)
	require.Equal(t, []string{"/data"}, last["volume"].(*instructions.VolumeCommand).Volumes)
	require.False(t, last["entrypoint"].(*instructions.EntrypointCommand).PrependShell, "there is no shell")
	require.False(t, last["cmd"].(*instructions.CmdCommand).PrependShell)
	require.Equal(t, "CMD", last["healthcheck"].(*instructions.HealthCheckCommand).Health.Test[0])
}

func TestComposeTakesTheFile(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"})
	require.NoError(t, err)
	project, err := options.LoadProject(context.Background())
	require.NoError(t, err)
	require.Len(t, project.Services, 3)
	for name, s := range project.Services {
		require.Equal(t, "deploy/Dockerfile", s.Build.Dockerfile, name)
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Equal(t, "/data", s.Volumes[0].Target, name)
		require.Equal(t, name, s.Volumes[0].Source, "each has a volume of its own")
		require.Equal(t, "unless-stopped", s.Restart, name)
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s: strangers do not reach it", name)
		}
	}
}

// objects are those of kubernetes.yaml. A field that a type does not have is an error.
func objects(t *testing.T) map[string]any {
	text, err := os.ReadFile("../kubernetes.yaml")
	require.NoError(t, err)
	kinds := map[string]func() any{
		"v1/Service":                         func() any { return new(corev1.Service) },
		"policy/v1/PodDisruptionBudget":      func() any { return new(policyv1.PodDisruptionBudget) },
		"networking.k8s.io/v1/NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
		"apps/v1/StatefulSet":                func() any { return new(appsv1.StatefulSet) },
	}
	all := map[string]any{}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var head struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		require.NoError(t, yaml.Unmarshal(document, &head))
		make, known := kinds[head.APIVersion+"/"+head.Kind]
		require.True(t, known, "%s/%s", head.APIVersion, head.Kind)
		object := make()
		require.NoError(t, yaml.UnmarshalStrict(document, object), "%s", document)
		all[head.Kind+" "+head.Name] = object
	}
	return all
}

func TestKubernetesTakesTheFile(t *testing.T) {
	all := objects(t)
	set := all["StatefulSet kvs"].(*appsv1.StatefulSet)
	pod := set.Spec.Template
	server := pod.Spec.Containers[0]

	servers := all["Service "+set.Spec.ServiceName].(*corev1.Service)
	require.Equal(t, corev1.ClusterIPNone, servers.Spec.ClusterIP, "the service that names the servers is headless")
	require.True(t, servers.Spec.PublishNotReadyAddresses, "a server is found before it is ready")
	ports := map[string]bool{}
	for _, p := range server.Ports {
		ports[p.Name] = true
	}
	for _, name := range []string{"Service kvs", "Service kvs-servers"} {
		s := all[name].(*corev1.Service)
		require.Equal(t, pod.Labels, s.Spec.Selector, name)
		for _, p := range s.Spec.Ports {
			require.True(t, ports[p.TargetPort.StrVal], "%s: %s", name, p.TargetPort.StrVal)
		}
	}
	require.Equal(t, pod.Labels, set.Spec.Selector.MatchLabels)
	require.Equal(t, appsv1.ParallelPodManagement, set.Spec.PodManagementPolicy)
	require.EqualValues(t, 3, *set.Spec.Replicas)

	budget := all["PodDisruptionBudget kvs"].(*policyv1.PodDisruptionBudget)
	require.EqualValues(t, 1, budget.Spec.MaxUnavailable.IntVal)
	require.Equal(t, pod.Labels, budget.Spec.Selector.MatchLabels)
	require.Equal(t, pod.Labels, all["NetworkPolicy kvs"].(*networkingv1.NetworkPolicy).Spec.PodSelector.MatchLabels)

	apart := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	require.Equal(t, corev1.LabelHostname, apart[0].TopologyKey)
	require.Equal(t, pod.Labels, apart[0].LabelSelector.MatchLabels)
	for what, probe := range map[string]*corev1.Probe{"/health": server.LivenessProbe, "/ready": server.ReadinessProbe} {
		require.Equal(t, what, probe.HTTPGet.Path)
		require.True(t, ports[probe.HTTPGet.Port.StrVal], what)
	}
	require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
	require.EqualValues(t, 65532, *pod.Spec.SecurityContext.FSGroup, "the user of the image may write into the volume")
	require.True(t, *server.SecurityContext.ReadOnlyRootFilesystem)
	require.False(t, *server.SecurityContext.AllowPrivilegeEscalation)
	require.Equal(t, []corev1.Capability{"ALL"}, server.SecurityContext.Capabilities.Drop)
	require.Equal(t, set.Spec.VolumeClaimTemplates[0].Name, server.VolumeMounts[0].Name)
	require.Equal(t, "/data", server.VolumeMounts[0].MountPath)
	require.GreaterOrEqual(t, *pod.Spec.TerminationGracePeriodSeconds, int64(10), "a server hands leadership over first")
}
