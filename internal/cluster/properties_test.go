package cluster

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestProperties(t *testing.T) {
	const jaas = `sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="ann" password="a \\"b\\" c;=";`
	for name, c := range map[string]struct {
		text     string
		want     Config
		warnings int
	}{
		"empty":             {"", Config{}, 0},
		"plaintext":         {"bootstrap.servers=a:1, b:2\nclient.id = me\n", Config{Brokers: []string{"a:1", "b:2"}, ClientID: "me"}, 0},
		"ssl, system roots": {"security.protocol=SSL", Config{TLS: &TLS{}}, 0},
		"ssl, files": {
			"security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\nssl.keystore.type=PEM\nssl.keystore.location=/me.pem",
			Config{TLS: &TLS{CAFile: "/ca.pem", CertFile: "/me.pem", KeyFile: "/me.pem"}}, 0,
		},
		"ssl, text": {
			"security.protocol=ssl\nssl.truststore.type=PEM\nssl.truststore.certificates=CERT\nssl.keystore.type=PEM\nssl.keystore.certificate.chain=CHAIN\nssl.keystore.key=KEY\nssl.endpoint.identification.algorithm=https",
			Config{TLS: &TLS{CA: "CERT", Cert: "CHAIN", Key: "KEY"}}, 0,
		},
		"sasl": {
			"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n" + jaas,
			Config{SASL: &SASL{Mechanism: Scram512, User: "ann", Password: `a "b" c;=`}}, 0,
		},
		"sasl over ssl": {
			"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=PlainLoginModule required username=u \\\n  password=p;",
			Config{TLS: &TLS{}, SASL: &SASL{Mechanism: Plain, User: "u", Password: "p"}}, 0,
		},
		"others": {"fetch.min.bytes=1\nretries=5\nx=${y}", Config{}, 3},
	} {
		got, warnings, err := parseProperties("client.properties", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) || len(warnings) != c.warnings {
			t.Errorf("%s: got %+v and %q", name, got, warnings)
		}
		for _, w := range warnings {
			if !strings.Contains(w, "not understood") {
				t.Errorf("%s: warning %q", name, w)
			}
		}
	}
}

func TestPropertiesRefused(t *testing.T) {
	for _, text := range []string{
		"security.protocol=TLS",
		"security.protocol=SSL\nssl.truststore.location=/a.jks",
		"security.protocol=SSL\nssl.keystore.type=PKCS12\nssl.keystore.location=/a",
		"security.protocol=SSL\nssl.key.password=hunter2",
		"security.protocol=SSL\nssl.endpoint.identification.algorithm=",
		"security.protocol=SASL_SSL",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x required username=\"hunter2",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x required hunter2;",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x required username=u password=\"hunter2\\",
		"security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\nsasl.jaas.config=x required a=b;",
		"security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=x required a=b;",
	} {
		_, _, err := parseProperties("client.properties", []byte(text))
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%q: got %v", text, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows the secret: %v", text, err)
		}
	}
}

func TestFromPropertiesNeedsTheFile(t *testing.T) {
	if _, _, err := FromProperties(t.TempDir() + "/none"); !errors.Is(err, ErrConfig) {
		t.Errorf("got %v", err)
	}
}
