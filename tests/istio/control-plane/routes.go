package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
)

// What istiod gets to know, and the proxies that ask it.
type routesOf struct {
	// Kubernetes' and the Gateway API's, as YAML documents.
	Objects string
	// Istio's.
	Resources []crd.IstioKind
	Proxies   []struct {
		Name, Namespace, Address string
		Gateway                  bool
		Labels                   map[string]string
	}
}

// The RouteConfigurations of each proxy by its name, or why there are none.
type routes struct {
	Proxies map[string][]json.RawMessage `json:"proxies,omitempty"`
	Error   string                       `json:"error,omitempty"`
}

// Returns stdout, and lets istiod's logs, which would go there, go to stderr.
func ownStdout() io.Writer {
	own, err := syscall.Dup(1)
	if err == nil {
		err = syscall.Dup3(2, 1, 0)
	}
	if err != nil {
		log.Fatal(err)
	}
	return os.NewFile(uintptr(own), "stdout")
}

// Writes a line of routes for each line of resources. Each line is a mesh of its own.
func renderAll(in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var wanted routesOf
		if err := decoder.Decode(&wanted); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var found routes
		err := test.Wrap(func(t test.Failer) {
			if err := render(t, wanted, &found); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			found = routes{Error: err.Error()}
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
}

func render(t test.Failer, wanted routesOf, found *routes) (err error) {
	// istiod itself crashes on some resources, such as a server with the hosts `*/x.test` and `./x.test`.
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("istiod panics: %v", why)
		}
	}()
	meshConfig, err := mesh.ApplyMeshConfigDefaults("enableAutoMtls: false")
	if err != nil {
		return err
	}
	var configs []config.Config
	for _, object := range wanted.Resources {
		one, err := convert(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.Kind, object.Name, err)
		}
		configs = append(configs, *one)
	}
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
		KubernetesObjectString: wanted.Objects,
		Configs:                configs,
		MeshConfig:             meshConfig,
	})
	found.Proxies = map[string][]json.RawMessage{}
	for _, one := range wanted.Proxies {
		proxy := &model.Proxy{
			ID: one.Name + "." + one.Namespace, Type: model.SidecarProxy, ConfigNamespace: one.Namespace, Labels: one.Labels,
			IPAddresses: []string{one.Address}, DNSDomain: one.Namespace + ".svc." + domain,
			Metadata: &model.NodeMetadata{Namespace: one.Namespace, Labels: one.Labels, ClusterID: "Kubernetes", IstioVersion: "1.30.0"},
		}
		if one.Gateway {
			proxy.Type = model.Router
		}
		found.Proxies[one.Name] = []json.RawMessage{}
		for _, table := range server.Routes(server.SetupProxy(proxy)) {
			text, err := protojson.Marshal(table)
			if err != nil {
				return err
			}
			found.Proxies[one.Name] = append(found.Proxies[one.Name], text)
		}
	}
	return nil
}
