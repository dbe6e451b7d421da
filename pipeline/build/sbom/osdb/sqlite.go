package osdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A reader of the one table that rpm has its packages in. The libraries there are bring a whole database compiled from C
// (modernc.org/sqlite, ncruces/go-sqlite3), which is more to compile than the rest of the pipeline, or are abandoned and
// want a file and its locks (alicebob/sqlittle). Walking a table without a query is a page of code
// (https://www.sqlite.org/fileformat2.html).

// sqlite is a database in memory.
type sqlite struct {
	file   []byte
	page   int // bytes of a page
	usable int // bytes of a page that are not reserved
	seen   map[uint32]bool
	budget int // bytes of rows that may still be read: a file has no more than its own size
}

var errSqlite = errors.New("it is not a whole sqlite database")

const (
	sqliteHeader  = 100 // bytes at the start of the first page
	sqliteDepth   = 20  // levels of a tree; the largest database that there can be has fewer
	sqliteColumns = 64  // of a table that is read
)

// rows calls each with the columns of every row of a table, in the order of row ids. A column is text or a blob, and nil
// where it is a number.
func rows(file []byte, table string, each func([][]byte) error) error {
	if len(file) < sqliteHeader || string(file[:16]) != "SQLite format 3\x00" {
		return errSqlite
	}
	page := int(binary.BigEndian.Uint16(file[16:]))
	if page == 1 {
		page = 1 << 16
	}
	db := &sqlite{file: file, page: page, usable: page - int(file[20]), budget: len(file)}
	if page < 512 || page&(page-1) != 0 || db.usable < 480 || len(file)%page != 0 {
		return errSqlite
	}
	if encoding := binary.BigEndian.Uint32(file[56:]); encoding != 1 {
		return fmt.Errorf("the sqlite database has the text encoding %d, which is not UTF-8", encoding)
	}
	var root uint32
	err := db.table(1, func(row [][]byte, numbers []int64) error {
		if len(row) >= 4 && string(row[0]) == "table" && strings.EqualFold(string(row[1]), table) {
			root = uint32(numbers[3])
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return fmt.Errorf("the sqlite database has no table %s", table)
	}
	return db.table(root, func(row [][]byte, _ []int64) error { return each(row) })
}

func (db *sqlite) table(root uint32, each func([][]byte, []int64) error) error {
	db.seen = map[uint32]bool{}
	return db.tree(root, 0, each)
}

// get is the content of a page that was not read before.
func (db *sqlite) get(number uint32) ([]byte, error) {
	if number == 0 || uint64(number) > uint64(len(db.file)/db.page) || db.seen[number] {
		return nil, errSqlite
	}
	db.seen[number] = true
	at := int(number-1) * db.page
	return db.file[at : at+db.usable], nil
}

// tree reads a page of a table and those below it.
func (db *sqlite) tree(number uint32, depth int, each func([][]byte, []int64) error) error {
	page, err := db.get(number)
	if err != nil || depth > sqliteDepth {
		return errSqlite
	}
	head := page
	if number == 1 {
		head = page[sqliteHeader:]
	}
	const leaf, interior = 0x0d, 0x05
	cells, start := int(binary.BigEndian.Uint16(head[3:])), 8
	if head[0] == interior {
		start = 12
	} else if head[0] != leaf {
		return errSqlite
	}
	if start+2*cells > len(head) {
		return errSqlite
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(head[start+2*i:]))
		if at+4 > len(page) {
			return errSqlite
		}
		if head[0] == interior {
			err = db.tree(binary.BigEndian.Uint32(page[at:]), depth+1, each)
		} else {
			err = db.row(page[at:], each)
		}
		if err != nil {
			return err
		}
	}
	if head[0] == interior {
		return db.tree(binary.BigEndian.Uint32(head[8:]), depth+1, each)
	}
	return nil
}

// row reads a cell of a leaf: the row's size, its id and its content, of which the end may be on pages of its own.
func (db *sqlite) row(cell []byte, each func([][]byte, []int64) error) error {
	size, cell, ok := uvarint(cell)
	if !ok || size > uint64(db.budget) {
		return errSqlite
	}
	db.budget -= int(size)
	if _, cell, ok = uvarint(cell); !ok {
		return errSqlite
	}
	local, most := int(size), db.usable-35
	if local > most {
		least := (db.usable-12)*32/255 - 23
		if local = least + (int(size)-least)%(db.usable-4); local > most {
			local = least
		}
	}
	if local > len(cell) {
		return errSqlite
	}
	content := cell[:local]
	if local < int(size) {
		if local+4 > len(cell) {
			return errSqlite
		}
		content = append(make([]byte, 0, size), content...)
		for next := binary.BigEndian.Uint32(cell[local:]); len(content) < int(size); {
			page, err := db.get(next)
			if err != nil {
				return err
			}
			next = binary.BigEndian.Uint32(page)
			content = append(content, page[4:min(len(page), 4+int(size)-len(content))]...)
		}
	}
	columns, numbers, err := record(content)
	if err != nil {
		return err
	}
	return each(columns, numbers)
}

// record splits a row into its columns.
func record(b []byte) ([][]byte, []int64, error) {
	size, types, ok := uvarint(b)
	if !ok || size > uint64(len(b)) || int(size) < len(b)-len(types) {
		return nil, nil, errSqlite
	}
	types, b = types[:int(size)-(len(b)-len(types))], b[size:]
	var columns [][]byte
	var numbers []int64
	for len(types) > 0 {
		var t uint64
		if t, types, ok = uvarint(types); !ok || len(columns) == sqliteColumns {
			return nil, nil, errSqlite
		}
		var n uint64
		switch {
		case t >= 12:
			n = (t - 12) / 2
		case t < 10:
			n = uint64([]int{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}[t])
		default:
			return nil, nil, errSqlite
		}
		if n > uint64(len(b)) {
			return nil, nil, errSqlite
		}
		value := b[:n]
		b = b[n:]
		var number int64
		if t < 12 {
			for _, c := range value {
				number = number<<8 | int64(c)
			}
			if t == 9 {
				number = 1
			}
			value = nil
		}
		columns, numbers = append(columns, value), append(numbers, number)
	}
	return columns, numbers, nil
}

// uvarint reads a number of sqlite's kind: seven bits a byte, the highest first, and eight in the ninth.
func uvarint(b []byte) (uint64, []byte, bool) {
	var x uint64
	for i, c := range b {
		if i == 8 {
			return x<<8 | uint64(c), b[9:], true
		}
		x = x<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return x, b[i+1:], true
		}
	}
	return 0, nil, false
}
