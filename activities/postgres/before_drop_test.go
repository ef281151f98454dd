package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/plan"
)

// A standby that stands before the commit of a DROP TABLE holds the lock of it, and
// whoever asks for the table there waits for ever: Promote verifies then.
func TestWhatIsLockedAtThePointIsVerifiedByThePromotion(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('ada')")
	must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})
	h.add(t, "bob")
	at := h.clock(t)
	h.exec(t, "DROP TABLE users", "CREATE TABLE other ()")
	h.switched(t)
	p := h.prepareTo(t, "recover/1", plan.Point{Time: at})
	h.fence(t, &p)
	verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.True(t, verified.Postponed)
	_, promoted := h.cutOver(t, &p)
	require.NotNil(t, promoted.Verified)
	require.Equal(t, []activities.TableCount{{Table: "users", Rows: 2}}, promoted.Verified.Tables)
	require.Equal(t, "ada bob", h.users(t))
}
