// Serves what istiod would send to the proxies of a mesh, from files instead of a Kubernetes API server. It is istiod's own
// discovery server, which Istio's unit tests use; pilot-discovery itself does not run without Kubernetes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/monitoring"
	"istio.io/istio/pkg/test"
)

// Without it, short host names such as `reviews` would not be completed.
const domain = "cluster.local"

func main() {
	xdsAddress := flag.String("xds", "127.0.0.1:15010", "where proxies get their configuration")
	httpAddress := flag.String("http", "127.0.0.1:15014", "POST /apply, and istiod's own /metrics and /debug/")
	meshFile := flag.String("mesh", "mesh.yaml", "the mesh's configuration")
	objectsFile := flag.String("objects", "objects.yaml", "Kubernetes' and the Gateway API's objects, which do not change")
	folder := flag.String("resources", "resources", "Istio's resources, as `*.yaml`, which are read again at each POST /apply")
	isRendering := flag.Bool("routes", false, "serve nobody: from lines of resources on stdin to lines of routes on stdout, logs on stderr")
	flag.Parse()

	if *isRendering {
		if err := renderAll(os.Stdin, ownStdout()); err != nil {
			log.Fatal(err)
		}
		return
	}
	err := test.Wrap(func(t test.Failer) {
		if err := serve(t, *xdsAddress, *httpAddress, *meshFile, *objectsFile, *folder); err != nil {
			t.Fatal(err)
		}
	})
	log.Fatal(err)
}

func serve(t test.Failer, xdsAddress, httpAddress, meshFile, objectsFile, folder string) error {
	// Before the first metric is counted.
	metrics, err := monitoring.RegisterPrometheusExporter(nil, nil)
	if err != nil {
		return err
	}
	meshConfig, err := os.ReadFile(meshFile)
	if err != nil {
		return err
	}
	parsed, err := mesh.ApplyMeshConfigDefaults(string(meshConfig))
	if err != nil {
		return fmt.Errorf("%s: %w", meshFile, err)
	}
	objects, err := os.ReadFile(objectsFile)
	if err != nil {
		return err
	}
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
		KubernetesObjectString: string(objects),
		MeshConfig:             parsed,
		ListenerBuilder:        func() (net.Listener, error) { return net.Listen("tcp", xdsAddress) },
	})
	resources := &resources{folder: folder, server: server, applied: map[string]config.Config{}}
	if err := resources.apply(); err != nil {
		return err
	}
	http.Handle("/metrics", metrics)
	http.Handle("/debug/", server.DiscoveryDebug)
	http.HandleFunc("POST /apply", func(response http.ResponseWriter, _ *http.Request) {
		if err := resources.apply(); err != nil {
			http.Error(response, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	return http.ListenAndServe(httpAddress, nil)
}

// The resources of a folder, and what of them the server has.
type resources struct {
	folder  string
	server  *xds.FakeDiscoveryServer
	applied map[string]config.Config
}

// Makes the server have what the folder has.
func (r *resources) apply() error {
	wanted, err := read(r.folder)
	if err != nil {
		return err
	}
	var failures []error
	for key, one := range wanted {
		old, isThere := r.applied[key]
		switch {
		case !isThere:
			_, err = r.server.Store().Create(one)
		case !old.Equals(&one):
			_, err = r.server.Store().Update(one)
		}
		failures = append(failures, err)
	}
	for key, one := range r.applied {
		if _, stays := wanted[key]; !stays {
			failures = append(failures, r.server.Store().Delete(one.GroupVersionKind, one.Name, one.Namespace, nil))
		}
	}
	r.applied = wanted
	return errors.Join(failures...)
}

// Reads and validates Istio's resources, as its webhook would.
func read(folder string) (map[string]config.Config, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	found := map[string]config.Config{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<20)
		for {
			var object crd.IstioKind
			if err := decoder.Decode(&object); err == io.EOF {
				break
			} else if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if object.Kind == "" {
				continue
			}
			one, err := convert(object)
			if err != nil {
				return nil, fmt.Errorf("%s: %s %s: %w", file, object.Kind, object.Name, err)
			}
			found[strings.Join([]string{object.Kind, one.Namespace, one.Name}, "/")] = *one
		}
	}
	return found, nil
}

func convert(object crd.IstioKind) (*config.Config, error) {
	schema, isKnown := collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(config.FromKubernetesGVK(object.GroupVersionKind()))
	if !isKnown {
		return nil, errors.New("not a resource of Istio")
	}
	one, err := crd.ConvertObject(schema, &object, domain)
	if err != nil {
		return nil, err
	}
	_, err = schema.ValidateConfig(*one)
	return one, err
}
