package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/source"
)

func BenchmarkExport(b *testing.B) {
	const files = 5000
	g := newRepo(b)
	var size int64
	for i := range files {
		text := strings.Repeat(fmt.Sprintf("line of file %d\n", i), 20+i%700)
		size += int64(len(text))
		g.write(fmt.Sprintf("dir%02d/sub%d/file%d.go", i%50, i%10, i), text)
	}
	g.commit("many files")
	g.git("gc", "--quiet")
	s := g.read(source.Options{})
	out := b.TempDir()
	b.SetBytes(size)
	for n := 0; b.Loop(); n++ {
		dir := filepath.Join(out, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o777); err != nil {
			b.Fatal(err)
		}
		if err := s.Export(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(files*b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkRead(b *testing.B) {
	g := newRepo(b)
	for i := range 5000 {
		g.write(fmt.Sprintf("dir%02d/file%d.go", i%50, i), fmt.Sprint(i))
	}
	g.commit("many files")
	g.git("tag", "v1.2.3")
	for b.Loop() {
		g.read(source.Options{})
	}
}
