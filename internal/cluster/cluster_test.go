package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

func check(t *testing.T, c Config) (warning string, err error) {
	t.Helper()
	opts, err := c.Opts()
	if err != nil {
		return "", err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	return Check(t.Context(), cl, c)
}

func fake(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func TestCheckNamesTheBrokersTried(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	_, err = check(t, Config{Brokers: []string{address, "127.0.0.1:1"}})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Fatalf("got %v", err)
	}
}

// A broker that accepts and says nothing must not be waited for without end.
func TestCheckGivesUpOnSilence(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := Config{Brokers: []string{silent.Addr().String()}}
	opts, err := c.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Check(ctx, cl, c); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no answer within") {
		t.Fatalf("got %v", err)
	}
}

func TestCheckFindsTheOneThatAnswers(t *testing.T) {
	t.Parallel()
	if _, err := check(t, Config{Brokers: append([]string{"127.0.0.1:1"}, fake(t)...)}); err != nil {
		t.Fatal(err)
	}
}

func TestT3OldTransactionsAreRefused(t *testing.T) {
	t.Parallel()
	c := Config{Brokers: fake(t, kfake.MaxVersions(kversion.V3_5_0()))}
	if _, err := check(t, c); !errors.Is(err, ErrOldTransactions) || !strings.Contains(err.Error(), "allow-old-transactions") {
		t.Fatalf("got %v", err)
	}
	c.AllowOldTransactions = true
	if warning, err := check(t, c); err != nil || !strings.Contains(warning, "transaction.version is below 2") {
		t.Fatalf("got %q, %v", warning, err)
	}
}

func TestSASL(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{Plain, Scram256, Scram512} {
		t.Run(mechanism, func(t *testing.T) {
			brokers := fake(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "ann", "s3cret"))
			good := Config{Brokers: brokers, SASL: &SASL{Mechanism: mechanism, User: "ann", Password: "s3cret"}}
			if _, err := check(t, good); err != nil {
				t.Fatal(err)
			}
			bad := Config{Brokers: brokers, SASL: &SASL{Mechanism: mechanism, User: "ann", Password: "wr0ng"}}
			_, err := check(t, bad)
			if !errors.Is(err, ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "wr0ng") {
				t.Fatalf("the error shows the password: %v", err)
			}
		})
	}
}

func TestSASLSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for _, s := range []SASL{
		{Mechanism: "GSSAPI"},
		{Mechanism: Plain, User: "ann"},
		{Mechanism: Scram256, Password: "p"},
		{Mechanism: OAuthBearer},
	} {
		if _, err := (Config{SASL: &s}).Opts(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: got %v", s, err)
		}
	}
	if _, err := (Config{SASL: &SASL{Mechanism: OAuthBearer, Token: "t"}}).Opts(); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, ca := selfSigned(t)
	brokers := fake(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls  *TLS
		want error
	}{
		"trusted file":     {&TLS{CAFile: file}, nil},
		"trusted text":     {&TLS{CA: string(ca)}, nil},
		"not verified":     {&TLS{SkipVerify: true}, nil},
		"unknown CA":       {&TLS{}, ErrUnreachable},
		"other name":       {&TLS{CAFile: file, ServerName: "elsewhere"}, ErrUnreachable},
		"no such file":     {&TLS{CAFile: file + "x"}, ErrConfig},
		"not PEM":          {&TLS{CA: "garbage"}, ErrConfig},
		"key without cert": {&TLS{CAFile: file, Key: "k"}, ErrConfig},
	} {
		if _, err := check(t, Config{Brokers: brokers, TLS: c.tls}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
