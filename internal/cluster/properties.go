package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/magiconair/properties"
)

// FromProperties reads a Java client's client.properties, as Kafka's own tools
// take it with --command-config. Settings that procd does not have are named
// in warnings, one text each: nothing that was asked for is dropped in
// silence, and what could make the connection less safe is an error.
//
// Understood are bootstrap.servers, client.id, security.protocol,
// sasl.mechanism, sasl.jaas.config (PLAIN and SCRAM: username and password) and
// the ssl.* keys for PEM stores.
func FromProperties(path string) (c Config, warnings []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return parseProperties(path, data)
}

func parseProperties(path string, data []byte) (c Config, warnings []string, err error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	props, err := loader.LoadBytes(data)
	if err != nil {
		return c, nil, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	r := &propertyReader{values: props.Map()}
	c, err = r.config()
	if err != nil {
		return c, nil, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	return c, r.rest(path), nil
}

// propertyReader forgets what was taken, so that the rest can be named.
type propertyReader struct {
	values map[string]string
}

func (r *propertyReader) take(key string) string {
	v := strings.TrimSpace(r.values[key])
	delete(r.values, key)
	return v
}

func (r *propertyReader) rest(path string) []string {
	var warnings []string
	for key := range r.values {
		warnings = append(warnings, fmt.Sprintf("%s: %s is not understood by procd and has no effect", path, key))
	}
	slices.Sort(warnings)
	return warnings
}

func (r *propertyReader) config() (c Config, err error) {
	for broker := range strings.SplitSeq(r.take("bootstrap.servers"), ",") {
		if broker = strings.TrimSpace(broker); broker != "" {
			c.Brokers = append(c.Brokers, broker)
		}
	}
	c.ClientID = r.take("client.id")
	protocol := strings.ToUpper(r.take("security.protocol"))
	switch protocol {
	case "", "PLAINTEXT", "SASL_PLAINTEXT":
	case "SSL", "SASL_SSL":
		if c.TLS, err = r.tls(); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("security.protocol=%s is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", protocol)
	}
	if strings.HasPrefix(protocol, "SASL_") {
		c.SASL, err = r.sasl()
	}
	return c, err
}

func (r *propertyReader) tls() (*TLS, error) {
	t := &TLS{}
	if err := r.truststore(t); err != nil {
		return nil, err
	}
	if err := r.keystore(t); err != nil {
		return nil, err
	}
	// In Java the empty text turns the host name check off and leaves the
	// rest on; a check that is half off is more than procd can promise.
	if value, given := r.values["ssl.endpoint.identification.algorithm"]; given {
		delete(r.values, "ssl.endpoint.identification.algorithm")
		if !strings.EqualFold(strings.TrimSpace(value), "https") {
			return nil, fmt.Errorf("ssl.endpoint.identification.algorithm=%q: procd always checks the host's name; give the name in the certificate as server name", value)
		}
	}
	return t, nil
}

func (r *propertyReader) truststore(t *TLS) error {
	if err := r.pemOnly("ssl.truststore.type", "ssl.truststore.location"); err != nil {
		return err
	}
	t.CAFile, t.CA = r.take("ssl.truststore.location"), r.take("ssl.truststore.certificates")
	return nil
}

func (r *propertyReader) keystore(t *TLS) error {
	if err := r.pemOnly("ssl.keystore.type", "ssl.keystore.location"); err != nil {
		return err
	}
	if r.take("ssl.key.password") != "" {
		return fmt.Errorf("ssl.key.password: procd reads unencrypted keys only; decrypt it with openssl pkey")
	}
	file := r.take("ssl.keystore.location") // holds both, in PEM form
	t.CertFile, t.KeyFile = file, file
	t.Cert, t.Key = r.take("ssl.keystore.certificate.chain"), Secret(r.take("ssl.keystore.key"))
	return nil
}

// pemOnly refuses Java's own key stores, which are the default of a store that
// has a file.
func (r *propertyReader) pemOnly(typeKey, locationKey string) error {
	kind := r.take(typeKey)
	if strings.EqualFold(kind, "PEM") || kind == "" && r.values[locationKey] == "" {
		return nil
	}
	if kind == "" {
		kind = "JKS"
	}
	return fmt.Errorf("%s=%s: procd reads PEM files; convert it with keytool -importkeystore and openssl pkcs12, and set %s=PEM",
		typeKey, kind, typeKey)
}

func (r *propertyReader) sasl() (*SASL, error) {
	s := &SASL{Mechanism: r.take("sasl.mechanism")}
	if s.Mechanism == "" {
		s.Mechanism = "GSSAPI" // Java's default, which mechanism refuses by name
	}
	options, err := parseJAAS(r.take("sasl.jaas.config"))
	if err != nil {
		return nil, err
	}
	s.User, s.Password = options["username"], Secret(options["password"])
	if s.Mechanism == OAuthBearer {
		return nil, fmt.Errorf("sasl.mechanism=%s: procd needs the token itself; give it in procd's settings", OAuthBearer)
	}
	if _, err := s.mechanism(); err != nil {
		return nil, err
	}
	return s, nil
}
