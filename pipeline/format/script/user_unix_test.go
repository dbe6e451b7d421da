//go:build unix

package script

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// nobody is a user that owns nothing.
const nobody = 65534

// unprivileged has the script run as an ordinary user, who may write to the machine's folders.
func (m *machine) unprivileged() {
	m.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	m.uid, m.gid = nobody, nobody
	// The folders above are of the test's user alone.
	for dir := m.root; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	err := filepath.WalkDir(m.root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, nobody, nobody)
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) prepare(cmd *exec.Cmd) {
	if m.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: m.uid, Gid: m.gid}}
	}
}
