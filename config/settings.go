package config

import (
	"os"
	"strconv"
	"strings"

	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/internal/cluster"
)

// Settings is the settings file, procd.yaml: what belongs to the place where a
// job runs and not to the job. Zero values mean that the file does not say it.
type Settings struct {
	Cluster      cluster.Config
	Memory       int64  // bytes that caches and buffers are cut from
	Workers      int    // goroutines that run tasks
	Data         string // directory of seats and stores
	SavepointDir string
	Admin        string // address of metrics and health, or "off"
}

var tlsObject = &object{name: "tls", doc: "`tls: {}` is TLS with the system's roots.", keys: []key{
	{name: "ca", shape: text, def: "the system's roots", doc: "PEM file of the authorities to trust"},
	{name: "cert", shape: text, doc: "PEM file of the client's certificate"},
	{name: "key", shape: text, doc: "PEM file of the client's key"},
	{name: "server-name", shape: text, def: "the broker's host", doc: "the name that the broker's certificate must have"},
	{name: "skip-verify", shape: boolean, def: "`false`", doc: "accept any certificate: only for tests"},
}}

var saslObject = &object{name: "sasl", keys: []key{
	{name: "mechanism", shape: enum(cluster.Plain, cluster.Scram256, cluster.Scram512, cluster.OAuthBearer), required: true},
	{name: "username", shape: text, doc: "of PLAIN and SCRAM"},
	{name: "password", shape: text, doc: "of PLAIN and SCRAM; `${file:/run/secrets/kafka}` reads a file"},
	{name: "token", shape: text, doc: "of OAUTHBEARER"},
}}

var settingsObject = &object{name: "settings", doc: "The top of the file.", keys: []key{
	{name: "brokers", shape: anyOf("list of host:port, or one text with commas", map[string]any{"type": "string"}, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}), def: "`127.0.0.1:9092`", doc: "where the Kafka cluster is"},
	{name: "client-id", shape: text, def: "`procd`", doc: "how the brokers' logs name this client"},
	{name: "tls", shape: mapOf(tlsObject), def: "plain text"},
	{name: "sasl", shape: mapOf(saslObject), def: "no authentication"},
	{name: "allow-old-transactions", shape: boolean, def: "`false`", doc: "accept brokers older than Kafka 4.0, where exactly-once has a hole; warns on every start"},
	{name: "memory", shape: text, doc: "what caches and buffers may take together, such as `1GiB`"},
	{name: "workers", shape: number, def: "one per core", doc: "goroutines that run tasks"},
	{name: "data", shape: text, def: "`./procd-data`", doc: "the directory of local state"},
	{name: "savepoint-dir", shape: text, def: "`./savepoints`", doc: "where savepoints go"},
	{name: "admin", shape: text, def: "`127.0.0.1:9870`", doc: "the address of `/metrics`, `/livez` and `/readyz`, or `off`"},
}}

var settingsObjects = []*object{settingsObject, tlsObject, saslObject}

// LoadSettings reads a settings file. Its mistakes are [Errors]; a secret is in
// none of them.
func LoadSettings(path string) (*Settings, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, Errors{{File: path, Msg: reason(err)}}
	}
	return ParseSettings(path, src)
}

// ParseSettings reads the content of a settings file; see [Parse].
func ParseSettings(name string, src []byte) (*Settings, error) {
	r := newReader(name)
	s := r.settings(src)
	if len(r.errs) > 0 {
		r.errs.sort()
		return nil, r.errs
	}
	return s, nil
}

func (r *reader) settings(src []byte) *Settings {
	root := r.open(src)
	if root == nil {
		return nil
	}
	top := r.section(root, settingsObject, "")
	if top == nil {
		return nil
	}
	s := &Settings{}
	s.Cluster.Brokers = top.brokers()
	s.Cluster.ClientID, _ = top.text("client-id")
	s.Cluster.AllowOldTransactions = top.flag("allow-old-transactions")
	if n := top.found["tls"]; n != nil {
		s.Cluster.TLS = r.tls(n)
	}
	if n := top.found["sasl"]; n != nil {
		s.Cluster.SASL = r.sasl(n)
	}
	s.Memory = top.bytes("memory")
	s.Workers = top.count("workers")
	s.Data, _ = top.text("data")
	s.SavepointDir, _ = top.text("savepoint-dir")
	s.Admin, _ = top.text("admin")
	return s
}

func (s *section) brokers() []string {
	n := s.found["brokers"]
	if n == nil {
		return nil
	}
	var all []string
	if n.Kind == yamlpos.List {
		for _, item := range n.Items {
			if v, ok := s.r.text(item, s.path("brokers")); ok {
				all = append(all, v)
			}
		}
	} else if v, ok := s.text("brokers"); ok {
		all = strings.Split(v, ",")
	}
	var out []string
	for _, b := range all {
		if b = strings.TrimSpace(b); b != "" {
			out = append(out, b)
		}
	}
	if len(out) == 0 && len(s.r.errs) == 0 {
		s.fail("brokers", "write 127.0.0.1:9092", "no broker is named")
	}
	return out
}

func (r *reader) tls(n *yamlpos.Node) *cluster.TLS {
	s := r.section(n, tlsObject, "tls")
	if s == nil {
		return nil
	}
	t := &cluster.TLS{SkipVerify: s.flag("skip-verify")}
	t.CAFile, _ = s.text("ca")
	t.CertFile, _ = s.text("cert")
	t.KeyFile, _ = s.text("key")
	t.ServerName, _ = s.text("server-name")
	if (t.CertFile == "") != (t.KeyFile == "") {
		r.errorPos(n.Pos(), "tls", "", "", "cert and key belong together")
	}
	return t
}

func (r *reader) sasl(n *yamlpos.Node) *cluster.SASL {
	s := r.section(n, saslObject, "sasl")
	if s == nil {
		return nil
	}
	out := &cluster.SASL{Mechanism: s.choice("mechanism", "", cluster.Plain, cluster.Scram256, cluster.Scram512, cluster.OAuthBearer)}
	out.User, _ = s.text("username")
	password, _ := s.text("password")
	token, _ := s.text("token")
	out.Password, out.Token = cluster.Secret(password), cluster.Secret(token)
	return out
}

func (s *section) count(name string) int {
	v, ok := s.text(name)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		s.fail(name, "", "%q is no number from 1 up", v)
	}
	return n
}

// units of sizes; those without i are the same, since nobody means 1000 here.
var units = map[string]int64{"": 1, "B": 1, "K": 1 << 10, "KB": 1 << 10, "KIB": 1 << 10, "M": 1 << 20, "MB": 1 << 20, "MIB": 1 << 20, "G": 1 << 30, "GB": 1 << 30, "GIB": 1 << 30}

func (s *section) bytes(name string) int64 {
	v, ok := s.text(name)
	if !ok {
		return 0
	}
	number := strings.TrimRight(v, "KMGiBkmgb ")
	unit, known := units[strings.ToUpper(strings.TrimSpace(v[len(number):]))]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || n <= 0 || n*float64(unit) > 1<<50 {
		s.fail(name, "write 512MiB or 2GiB", "%q is no size", v)
		return 0
	}
	return int64(n * float64(unit))
}
