package s3

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/frende/lifeboat/internal/store"
)

// List gives what lies under prefix; see store.Store. A page is asked for when
// the one before it has been consumed.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		input := &awss3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix + prefix)}
		if opts.Delimiter != "" {
			input.Delimiter = aws.String(opts.Delimiter)
		}
		if opts.StartAfter != "" {
			input.StartAfter = aws.String(s.prefix + opts.StartAfter)
		}
		for {
			page, err := s.client.ListObjectsV2(ctx, input)
			if err != nil {
				yield(store.Info{}, s.fail("list", prefix, err))
				return
			}
			for _, info := range s.merge(page) {
				if info.Key <= opts.StartAfter && opts.StartAfter != "" {
					continue // servers differ on a common prefix that starts before StartAfter
				}
				if !yield(info, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			input.ContinuationToken = page.NextContinuationToken
		}
	}
}

// merge gives a page's objects and common prefixes in one lexical order.
func (s *Store) merge(page *awss3.ListObjectsV2Output) []store.Info {
	infos := make([]store.Info, 0, len(page.Contents)+len(page.CommonPrefixes))
	for _, object := range page.Contents {
		infos = append(infos, store.Info{
			Key:      strings.TrimPrefix(aws.ToString(object.Key), s.prefix),
			Size:     aws.ToInt64(object.Size),
			ETag:     aws.ToString(object.ETag),
			Modified: aws.ToTime(object.LastModified).UTC(),
		})
	}
	for _, common := range page.CommonPrefixes {
		infos = append(infos, store.Info{Key: strings.TrimPrefix(aws.ToString(common.Prefix), s.prefix), IsPrefix: true})
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}
