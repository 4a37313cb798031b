package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// DefaultBroker is where a cluster is looked for unless told otherwise.
const DefaultBroker = "127.0.0.1:9092"

// Config says how to connect. The zero Config is a plaintext connection to
// [DefaultBroker].
type Config struct {
	Brokers  []string // host:port; default [DefaultBroker]
	ClientID string   // shown in the brokers' logs and quotas; default "procd"
	TLS      *TLS     // nil: plaintext
	SASL     *SASL    // nil: no authentication
	// AllowOldTransactions accepts brokers whose transaction.version is below
	// 2, where exactly-once has a hole (T3). It warns on every start.
	AllowOldTransactions bool
}

// TLS settings. The zero TLS verifies the broker against the system's roots.
type TLS struct {
	CAFile     string // PEM; default: the system's roots
	CertFile   string // PEM; with KeyFile, for client authentication
	KeyFile    string // PEM
	ServerName string // expected in the certificate; default: the broker's host
	SkipVerify bool   // accept any certificate: only for tests

	// The same as PEM text, as client.properties files may hold it.
	CA, Cert string
	Key      Secret
}

// Opts are the options that every client of this cluster needs.
func (c Config) Opts() ([]kgo.Opt, error) {
	clientID := c.ClientID
	if clientID == "" {
		clientID = "procd"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.seeds()...),
		kgo.ClientID(clientID),
		kgo.SoftwareNameAndVersion("procd", "1"),
		kgo.DialTimeout(5 * time.Second),
	}
	if c.TLS != nil {
		t, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if c.SASL != nil {
		mechanism, err := c.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

func (c Config) seeds() []string {
	seeds := slices.DeleteFunc(slices.Clone(c.Brokers), func(b string) bool { return strings.TrimSpace(b) == "" })
	if len(seeds) == 0 {
		return []string{DefaultBroker}
	}
	return seeds
}

func (t *TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify}
	ca, err := readPEM(t.CA, t.CAFile, "CA")
	if err != nil {
		return nil, err
	}
	if ca != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%w: the CA holds no certificate in PEM form", ErrConfig)
		}
	}
	cert, err := readPEM(t.Cert, t.CertFile, "certificate")
	if err != nil {
		return nil, err
	}
	key, err := readPEM(string(t.Key), t.KeyFile, "key")
	if err != nil {
		return nil, err
	}
	if cert == nil && key == nil {
		return config, nil
	}
	if cert == nil || key == nil {
		return nil, fmt.Errorf("%w: client authentication needs both a certificate and its key", ErrConfig)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: client certificate: %w", ErrConfig, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// readPEM returns the text, or the file's content, or nil if neither is given.
func readPEM(text, file, what string) ([]byte, error) {
	if text != "" {
		return []byte(text), nil
	}
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: TLS %s: %w", ErrConfig, what, err)
	}
	return data, nil
}
