package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// photos keeps files under dir/<user>/<name>.
type photos struct{ dir string }

var photoName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,99}\.(jpg|png)$`)

func (p photos) ready() error {
	info, err := os.Stat(p.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", p.dir)
	}
	return nil
}

func (p photos) path(r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	name := r.PathValue("name")
	if !photoName.MatchString(name) {
		return "", failure{http.StatusBadRequest, "a photo's name is of a-z, 0-9 and -, and ends in .jpg or .png"}
	}
	return filepath.Join(p.dir, strconv.FormatInt(id, 10), name), nil
}

// store puts a photo in place: whole, synced, and its name synced, or not at all.
func (p photos) store(path string, content io.Reader) (err error) {
	folder := filepath.Dir(path)
	switch err := os.Mkdir(folder, 0o755); {
	case err == nil:
		if err := syncFolder(p.dir); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrExist):
		return err
	}
	file, err := os.CreateTemp(folder, ".upload-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = io.Copy(file, content)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (b *backend) storePhoto(r *http.Request) (any, error) {
	path, err := b.photos.path(r)
	if err != nil {
		return nil, err
	}
	if err := b.photos.store(path, http.MaxBytesReader(nil, r.Body, largestPhoto)); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, failure{http.StatusRequestEntityTooLarge, "a photo has 10 MiB at most"}
		}
		return nil, err
	}
	return map[string]string{"name": filepath.Base(path)}, nil
}

func (b *backend) showPhoto(w http.ResponseWriter, r *http.Request) {
	path, err := b.photos.path(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.ServeFile(w, r, path)
}
