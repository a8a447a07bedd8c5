// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// Files is a web server for curl: GET gives a file of the directory, PUT writes one.
func Files(dir string) http.Handler {
	get := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			get.ServeHTTP(w, r)
			return
		}
		f, err := os.Create(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err == nil {
			_, err = f.ReadFrom(r.Body)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "stored")
	})
}
