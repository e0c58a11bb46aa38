// JDBC: prepared statements (named on the server after five uses), batches, a transaction, a refused statement.
import java.sql.*;

public class JdbcWork {
    public static void main(String[] args) throws Exception {
        try (Connection db = DriverManager.getConnection(System.getenv("JDBC_URL"), System.getenv("JDBC_USER"), System.getenv("JDBC_PASSWORD"))) {
            db.createStatement().executeUpdate("DELETE FROM orders WHERE note = 'jdbc'");
            db.setAutoCommit(false);
            try (PreparedStatement add = db.prepareStatement("INSERT INTO orders (id, note) VALUES (?, ?)")) {
                for (int n = 0; n < 50; n++) {
                    add.setInt(1, 60000 + n);
                    add.setString(2, "jdbc");
                    add.addBatch();
                }
                add.executeBatch();
            }
            db.commit();
            try (PreparedStatement one = db.prepareStatement("SELECT note FROM orders WHERE id = ?")) {
                for (int n = 0; n < 12; n++) {
                    one.setInt(1, 60000 + n);
                    try (ResultSet rows = one.executeQuery()) {
                        if (!rows.next() || !rows.getString(1).equals("jdbc")) throw new AssertionError("row " + n);
                    }
                }
            }
            db.commit();
            db.setAutoCommit(true);
            try {
                db.createStatement().executeQuery("SELECT * FROM payroll");
                throw new AssertionError("payroll was readable");
            } catch (SQLException refused) {
                if (!"42501".equals(refused.getSQLState())) throw refused;
            }
            db.createStatement().executeUpdate("DELETE FROM orders WHERE note = 'jdbc'");
        }
        System.out.println("jdbc ok");
    }
}
