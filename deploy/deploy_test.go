// Package deploy_test checks what can be checked of the container files
// without a container: that what they name exists, and that they agree.
package deploy_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/procd/procd/config"
	"github.com/procd/procd/internal/admin"
	"github.com/procd/procd/internal/cli"
	"github.com/procd/procd/topology"
)

// root is the directory that docker-compose.yml is in.
const root = ".."

// compose is the part of docker-compose.yml that is checked.
type compose struct {
	Services map[string]struct {
		Image       string            `yaml:"image"`
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
		Ports       []string          `yaml:"ports"`
		Healthcheck struct {
			Test []string `yaml:"test"`
		} `yaml:"healthcheck"`
		StopGracePeriod string `yaml:"stop_grace_period"`
		Restart         string `yaml:"restart"`
	} `yaml:"services"`
	Volumes map[string]any `yaml:"volumes"`
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal(read(t, "docker-compose.yml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkCommand reports a command line that procd would not take: with --help
// everything before it is parsed, and nothing is done.
func checkCommand(t *testing.T, where string, args []string) {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errOut}
	if code := cli.Main(t.Context(), append(slices.Clone(args), "--help"), streams, nil); code != cli.Done {
		t.Errorf("%s: procd %s: %s", where, strings.Join(args, " "), errOut.String())
	}
	if !strings.HasPrefix(args[0], "-") && !strings.Contains(out.String(), "\n  procd "+args[0]+" ") {
		t.Errorf("%s: there is no command %s", where, args[0])
	}
}

func TestCommandsExist(t *testing.T) {
	c := readCompose(t)
	procd := c.Services["procd"]
	checkCommand(t, "compose", procd.Command)
	if test := procd.Healthcheck.Test; len(test) < 2 || test[0] != "CMD" || test[1] != "/procd" {
		t.Errorf("the image has no shell, and the health check is %q", test)
	} else {
		checkCommand(t, "compose health check", test[2:])
	}
	for _, exec := range regexp.MustCompile(`(?m)CMD (\[.*\])$`).FindAllStringSubmatch(string(read(t, "Dockerfile")), -1) {
		var args []string
		if err := json.Unmarshal([]byte(exec[1]), &args); err != nil {
			t.Fatal(err)
		}
		checkCommand(t, "Dockerfile", slices.DeleteFunc(args, func(a string) bool { return a == "/procd" }))
	}
	if procd.Restart != "on-failure" {
		t.Errorf("restart: %s would undo procd stop", procd.Restart)
	}
	if procd.StopGracePeriod == "" {
		t.Error("no stop_grace_period")
	}
}

// Every file that is mounted exists, and every path that procd is told is one
// that is mounted.
func TestPathsExist(t *testing.T) {
	c := readCompose(t)
	var mounted []string
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			if name == "procd" {
				mounted = append(mounted, parts[1])
			}
			if _, ok := c.Volumes[parts[0]]; ok {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, parts[0])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	settings, err := config.LoadSettings(filepath.Join(root, "deploy/procd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(absolute(c.Services["procd"].Command), settings.Data) {
		if !slices.ContainsFunc(mounted, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }) {
			t.Errorf("procd is told of %s, and mounted are %q", path, mounted)
		}
	}
	// A named volume is the non-root user's only if the image has its directory.
	if !strings.Contains(string(read(t, "Dockerfile")), "/out/data "+settings.Data+"\n") {
		t.Errorf("the image has no %s", settings.Data)
	}
}

func absolute(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return !strings.HasPrefix(a, "/") })
}

// The job that is started reads and writes topics that are created.
func TestJobAndTopics(t *testing.T) {
	c := readCompose(t)
	job, err := config.Load(filepath.Join(root, "examples/motion-alarm", filepath.Base(c.Services["procd"].Command[1])))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := job.Job().Plan()
	if err != nil {
		t.Fatal(err)
	}
	loop := regexp.MustCompile(`for topic in ([^;]+);`).FindStringSubmatch(strings.Join(c.Services["topics"].Command, " "))
	if loop == nil {
		t.Fatal("no topics are created")
	}
	for _, topic := range plan.Topics {
		if topic.Kind != topology.RepartitionTopic && !slices.Contains(strings.Fields(loop[1]), topic.Name) {
			t.Errorf("nobody creates topic %s", topic.Name)
		}
	}
}

func TestPortsAgree(t *testing.T) {
	c := readCompose(t)
	_, port, err := net.SplitHostPort(admin.DefaultAddr)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := config.LoadSettings(filepath.Join(root, "deploy/procd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// `procd health` in the container asks the default address.
	if settings.Admin != "0.0.0.0:"+port {
		t.Errorf("procd listens on %s, and its health check asks port %s", settings.Admin, port)
	}
	for file, text := range map[string]string{"Dockerfile": "EXPOSE " + port + "\n", "deploy/prometheus.yml": "port: " + port + "\n"} {
		if !strings.Contains(string(read(t, file)), text) {
			t.Errorf("%s: no %q", file, text)
		}
	}
	kafka, brokers := c.Services["kafka"].Environment, c.Services["procd"].Environment["PROCD_BROKERS"]
	if !strings.Contains(kafka["KAFKA_ADVERTISED_LISTENERS"], "://"+brokers+",") {
		t.Errorf("procd connects to %s, and Kafka is at %s", brokers, kafka["KAFKA_ADVERTISED_LISTENERS"])
	}
	for name, s := range c.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to everybody", name, p)
			}
		}
	}
}

// A dashboard or a rule with a metric that nobody exports shows nothing, for
// ever.
func TestMetricsExist(t *testing.T) {
	exported := map[string]bool{}
	sources, err := filepath.Glob(filepath.Join(root, "internal/engine/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(counter|gauge|histogram)\("([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			exported["procd_"+m[2]] = true
			if m[1] == "histogram" {
				exported["procd_"+m[2]+"_bucket"] = true
			}
		}
	}
	shown := map[string]bool{}
	for _, file := range []string{"deploy/rules.yml", "deploy/grafana/procd.json"} {
		for _, m := range regexp.MustCompile(`\bprocd_[a-z_]+\b`).FindAllString(string(read(t, file)), -1) {
			if m == "procd_job" { // a label
				continue
			}
			shown[m] = true
			if !exported[m] {
				t.Errorf("%s: nobody exports %s; there are %q", file, m, slices.Sorted(maps.Keys(exported)))
			}
		}
	}
	if len(shown) < 10 {
		t.Errorf("only %d metrics are shown", len(shown))
	}
}

// The image is built with the Go version that the module asks for.
func TestGoVersion(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(read(t, "go.mod"))
	if version == nil || !strings.Contains(string(read(t, "Dockerfile")), "FROM golang:"+string(version[1])+" ") {
		t.Errorf("go.mod wants Go %s", version[1])
	}
}

func TestYAMLAndJSON(t *testing.T) {
	for _, file := range []string{"deploy/prometheus.yml", "deploy/rules.yml", "deploy/grafana/datasource.yml", "deploy/grafana/dashboards.yml"} {
		var v map[string]any
		if err := yaml.Unmarshal(read(t, file), &v); err != nil || len(v) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if !json.Valid(read(t, "deploy/grafana/procd.json")) {
		t.Error("deploy/grafana/procd.json is no JSON")
	}
}

func TestComposeConfig(t *testing.T) {
	if err := exec.Command("docker", "compose", "version").Run(); err != nil {
		t.Skip("there is no docker compose: ", err)
	}
	cmd := exec.Command("docker", "compose", "config", "--quiet")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
